#include "learner/status_board.h"

#include <algorithm>
#include <utility>

#include "common/base/utf8.h"

namespace flowawr {

StatusBoard::StatusBoard(const Clock* clock)
    : clock_(*clock), dispatcher_([this](Dispatcher::Answers& answers) { return Answer(answers); }) {}

StatusBoard::~StatusBoard() { Stop(); }

void StatusBoard::Changed() {
  ++generation_;
  if (!waits_.empty()) dispatcher_.Wake();
}

void StatusBoard::Update(absl::FunctionRef<void(v1::Status&)> change) {
  absl::MutexLock lock(&mutex_);
  change(status_);
  ages_.Take(clock_.Now(), status_);
  Changed();
}

void StatusBoard::ShowStage(const std::string& stage, absl::Time since) {
  absl::MutexLock lock(&mutex_);
  ages_.SetStage(stage, since);
}

void StatusBoard::SetStandingWarnings(const std::string& source, std::vector<std::string> warnings) {
  absl::MutexLock lock(&mutex_);
  standing_warnings_[source] = std::move(warnings);
  Changed();
}

void StatusBoard::Show(const StatusSource& source) {
  absl::MutexLock lock(&sources_mutex_);
  sources_.insert(&source);
}

void StatusBoard::Hide(const StatusSource& source) {
  absl::MutexLock lock(&sources_mutex_);
  sources_.erase(&source);
}

void StatusBoard::Touch() {
  absl::MutexLock lock(&mutex_);
  Changed();
}

v1::Status StatusBoard::status() const {
  v1::Status status;
  std::map<std::string, std::vector<std::string>> standing_warnings;
  {
    absl::MutexLock lock(&mutex_);
    status = status_;
    ages_.Show(clock_.Now(), status);
    standing_warnings = standing_warnings_;
  }
  {
    absl::ReaderMutexLock lock(&sources_mutex_);
    for (const StatusSource* source : sources_) source->AddTo(status);
  }
  for (const auto& [source, sentences] : standing_warnings)
    for (const std::string& sentence : sentences) status.add_warnings(sentence);
  // Folders' names and what libraries say may be any bytes; a message with one that is not UTF-8 is read by nobody.
  for (std::string* text : {status.mutable_name(), status.mutable_run_dir(), status.mutable_message(),
                            status.mutable_last_checkpoint()})
    *text = SanitizeUtf8(*text);
  for (std::string& warning : *status.mutable_warnings()) warning = SanitizeUtf8(warning);
  return status;
}

WaitTicket StatusBoard::AwaitStatus(uint64_t seen, absl::Time not_before, absl::Time until, OnStatus done) {
  {
    absl::MutexLock lock(&mutex_);
    if (waits_.size() < kMaxWaits) {
      const WaitTicket ticket = next_ticket_++;
      waits_.emplace(ticket, Wait{seen, not_before, until, std::move(done)});
      dispatcher_.Wake();
      return ticket;
    }
  }
  done(absl::ResourceExhaustedError("too many callers wait already; try again"));
  return 0;
}

void StatusBoard::CancelWait(WaitTicket ticket) {
  OnStatus done;
  {
    absl::MutexLock lock(&mutex_);
    auto wait = waits_.extract(ticket);
    if (wait.empty()) return;
    done = std::move(wait.mapped().done);
  }
  done(absl::CancelledError("the caller has gone"));
}

absl::Time StatusBoard::Answer(Dispatcher::Answers& answers) {
  std::vector<OnStatus> due;
  // As of before the look: what changes during it is a change for the next wait.
  Seen answer;
  absl::Time next = absl::InfiniteFuture();
  {
    absl::MutexLock lock(&mutex_);
    answer.seen = generation_;
    answer.is_last = is_stopped_;
    const absl::Time now = MonotonicNow();
    for (auto it = waits_.begin(); it != waits_.end();) {
      Wait& wait = it->second;
      if (is_stopped_ || now >= wait.until || (now >= wait.not_before && wait.seen != generation_)) {
        due.push_back(std::move(wait.done));
        it = waits_.erase(it);
        continue;
      }
      next = std::min(next, wait.seen != generation_ ? wait.not_before : wait.until);
      ++it;
    }
  }
  if (due.empty()) return next;
  answer.status = std::make_shared<const v1::Status>(status());
  for (OnStatus& done : due)
    answers.push_back([done = std::move(done), answer]() mutable { done(std::move(answer)); });
  return next;
}

void StatusBoard::Stop() {
  absl::MutexLock lock(&mutex_);
  is_stopped_ = true;
  dispatcher_.Wake();
}

}  // namespace flowawr
