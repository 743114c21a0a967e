#include "reward_server/scorer_runner.h"

#include <algorithm>
#include <exception>
#include <list>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/steady_cond_var.h"
#include "common/scoring/score_bounds.h"
#include "reward_server/request_bounds.h"
#include "reward_server/score_queue.h"

namespace flowawr {
namespace {

// How often deadlines, callers and calls under way are looked at.
constexpr absl::Duration kPoll = absl::Milliseconds(20);
// How long Stop() waits for calls whose results nobody wants any more.
constexpr absl::Duration kReturnTime = absl::Seconds(5);
// Of the last call in the mean time of an image.
constexpr double kNewest = 0.2;
constexpr double kLongestRetryAfter = 60;

}  // namespace

// Shared by the runner and its threads.
class ScorerRunner::Core {
 public:
  Core(std::shared_ptr<Scorer> scorer, const ScorerSeries& series, const RunnerOptions& options,
       std::function<void(bool)> on_health)
      : scorer_(std::move(scorer)),
        version_(scorer_->version()),
        weights_sha256_(scorer_->weights_sha256()),
        memory_bytes_(scorer_->memory_bytes()),
        series_(series),
        options_(options),
        on_health_(std::move(on_health)),
        batch_size_(std::max(options.largest_batch > 0 ? options.largest_batch : scorer_->recommended_batch(), 1)),
        calls_at_once_(std::max(scorer_->parallel_calls(), 1)),
        queue_(options.max_queued_images),
        workers_(calls_at_once_) {}

  absl::Status Score(const std::shared_ptr<ScoreTask>& task);
  absl::Status CheckPrompt(const std::string& prompt, const PromptMetadata& metadata) const;
  bool Stop(absl::Duration grace);  // whether every call has returned
  v1::ScorerInfo Info() const;
  const std::string& version() const { return version_; }
  const std::string& weights_sha256() const { return weights_sha256_; }
  int calls_at_once() const { return calls_at_once_; }

  void Work();
  void Watch();

 private:
  struct Call {
    std::vector<ScoreQueue::Entry> batch;
    absl::Time begun;
    bool is_stuck = false;
  };

  // Until something is queued, and then a little for a batch to fill; or until the runner is stopped.
  void WaitForBatch() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void RunBatch(std::vector<ScoreQueue::Entry> batch);
  std::vector<v1::ScoreResult> ScoreBatch(const Call& call);
  absl::Duration TimeFor(const Call& call) const {
    return options_.max_image_time * static_cast<int64_t>(call.batch.size());
  }
  void Finish(std::list<Call>::iterator call, std::vector<v1::ScoreResult> results,
              const std::map<std::string, double>& used) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whether a call was found that is stuck since the last time.
  bool FindStuck(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Count(const v1::ScoreResult& result) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  v1::ScoreResult Stuck() const;
  v1::ScoreResult NoRoom() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ShowQueue() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Both call what is not ours, without the lock.
  void TellEnded() ABSL_LOCKS_EXCLUDED(mutex_);
  void TellHealth() ABSL_LOCKS_EXCLUDED(mutex_);

  const std::shared_ptr<Scorer> scorer_;
  const std::string version_, weights_sha256_;
  const size_t memory_bytes_;
  const ScorerSeries series_;  // not touched once is_over_
  const RunnerOptions options_;
  const std::function<void(bool)> on_health_;
  const size_t batch_size_;
  const int calls_at_once_;
  absl::Mutex health_mutex_;  // so that on_health_ hears the last state last; before mutex_
  mutable absl::Mutex mutex_;
  SteadyCondVar has_work_;     // something is queued, or the runner is stopped
  SteadyCondVar has_changed_;  // a task is over, or a worker has ended
  SteadyCondVar is_watched_;   // there is something to look at
  ScoreQueue queue_ ABSL_GUARDED_BY(mutex_);
  std::list<Call> calls_ ABSL_GUARDED_BY(mutex_);  // under way
  int stuck_calls_ ABSL_GUARDED_BY(mutex_) = 0;
  int workers_ ABSL_GUARDED_BY(mutex_);  // that have not ended
  size_t shown_queue_ ABSL_GUARDED_BY(mutex_) = 0;
  bool is_stopped_ ABSL_GUARDED_BY(mutex_) = false;
  bool is_over_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t images_scored_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t errors_ ABSL_GUARDED_BY(mutex_) = 0;
  double seconds_per_image_ ABSL_GUARDED_BY(mutex_) = 0;  // of a call; 0: not known yet
  absl::Time last_used_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
};

absl::Status ScorerRunner::Core::Score(const std::shared_ptr<ScoreTask>& task) {
  {
    absl::MutexLock lock(&mutex_);
    if (is_stopped_) return absl::FailedPreconditionError("the scorer is being unloaded");
    last_used_ = MonotonicNow();
    const auto refuse = [this](const v1::ScoreItem& item) ABSL_NO_THREAD_SAFETY_ANALYSIS {
      std::unique_ptr<v1::ScoreResult> refusal;
      if (std::string wrong = WhatIsWrongWith(item, options_.max_side); !wrong.empty()) {
        refusal = std::make_unique<v1::ScoreResult>(ErrorResult(v1::ScoreError::BAD_INPUT, std::move(wrong)));
      } else if (stuck_calls_ > 0) {
        refusal = std::make_unique<v1::ScoreResult>(Stuck());
      }
      if (refusal != nullptr) Count(*refusal);
      return refusal;
    };
    const auto no_room = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
      v1::ScoreResult result = NoRoom();
      Count(result);
      return result;
    };
    queue_.Add(task, refuse, no_room);
    ShowQueue();
    has_work_.SignalAll();
    is_watched_.SignalAll();
  }
  TellEnded();
  return absl::OkStatus();
}

absl::Status ScorerRunner::Core::CheckPrompt(const std::string& prompt, const PromptMetadata& metadata) const {
  try {
    return scorer_->CheckPrompt(prompt, metadata);
  } catch (const std::exception&) {
    return absl::OkStatus();
  }
}

bool ScorerRunner::Core::Stop(absl::Duration grace) {
  {
    absl::MutexLock lock(&mutex_);
    is_stopped_ = true;
    has_work_.SignalAll();
    is_watched_.SignalAll();
    const absl::Time until = MonotonicNow() + grace;
    while (!queue_.is_empty() && MonotonicNow() < until)
      has_changed_.WaitWithTimeout(&mutex_, until - MonotonicNow());
    queue_.EndAll(absl::FailedPreconditionError("the scorer was unloaded"));
    ShowQueue();
    has_work_.SignalAll();
  }
  TellEnded();
  bool have_all_returned = false;
  {
    absl::MutexLock lock(&mutex_);
    const absl::Time until = MonotonicNow() + (stuck_calls_ > 0 ? absl::ZeroDuration() : kReturnTime);
    while (workers_ > 0 && MonotonicNow() < until) has_changed_.WaitWithTimeout(&mutex_, until - MonotonicNow());
    is_over_ = true;
    is_watched_.SignalAll();
    have_all_returned = workers_ == 0;
  }
  absl::MutexLock last_words(&health_mutex_);  // of a thread that began before the stop
  return have_all_returned;
}

void ScorerRunner::Core::Work() {
  bool has_ended = false;
  while (!has_ended) {
    std::vector<ScoreQueue::Entry> batch;
    {
      absl::MutexLock lock(&mutex_);
      WaitForBatch();
      batch = queue_.Take(batch_size_, MonotonicNow());
      has_ended = batch.empty() && is_stopped_ && queue_.queued_images() == 0;
      ShowQueue();
    }
    TellEnded();
    if (!batch.empty()) RunBatch(std::move(batch));
  }
  absl::MutexLock lock(&mutex_);
  --workers_;
  has_changed_.SignalAll();
}

void ScorerRunner::Core::WaitForBatch() {
  while (queue_.queued_images() == 0 && !is_stopped_) has_work_.Wait(&mutex_);
  const absl::Time until = MonotonicNow() + options_.max_wait;
  while (batch_size_ > 1 && queue_.queued_images() < batch_size_ && !is_stopped_ && MonotonicNow() < until)
    has_work_.WaitWithTimeout(&mutex_, until - MonotonicNow());
}

void ScorerRunner::Core::RunBatch(std::vector<ScoreQueue::Entry> batch) {
  std::list<Call>::iterator call;
  {
    absl::MutexLock lock(&mutex_);
    const absl::Time now = MonotonicNow();
    if (!is_over_)
      for (const ScoreQueue::Entry& entry : batch)
        series_.waited_seconds->Observe(absl::ToDoubleSeconds(now - entry.task->begun()));
    call = calls_.insert(calls_.end(), Call{std::move(batch), now});
    is_watched_.SignalAll();
  }
  std::vector<v1::ScoreResult> results = ScoreBatch(*call);
  const std::map<std::string, double> used = scorer_->TakeUse();
  bool was_stuck = false;
  {
    absl::MutexLock lock(&mutex_);
    was_stuck = call->is_stuck;
    Finish(call, std::move(results), used);
  }
  TellEnded();
  if (was_stuck) TellHealth();
}

std::vector<v1::ScoreResult> ScorerRunner::Core::ScoreBatch(const Call& call) {
  std::vector<const v1::ScoreItem*> items;
  for (const ScoreQueue::Entry& entry : call.batch) items.push_back(&entry.task->item(entry.index));
  const auto still_wanted = [&](size_t i) -> absl::Status {
    if (!call.batch[i].task->is_wanted()) return absl::CancelledError("nobody waits for the result any more");
    if (MonotonicNow() - call.begun < TimeFor(call)) return absl::OkStatus();
    return absl::DeadlineExceededError(
        absl::StrCat("scoring the image takes more than ", absl::FormatDuration(options_.max_image_time),
                     " (--max-image-seconds of the reward server, image_seconds of the scorer)"));
  };
  std::vector<v1::ScoreResult> results;
  std::string failure;
  try {
    results = scorer_->Score(items, still_wanted);
    if (results.size() != items.size())
      failure = absl::StrCat("the scorer gave ", results.size(), " results for ", items.size(), " images");
  } catch (const std::exception& error) {
    if (options_.device_error)
      if (const absl::Status of_device = options_.device_error(options_.device); !of_device.ok())
        options_.on_device_error(of_device);
    failure = absl::StrCat("the scorer failed: ", error.what());
  } catch (...) {
    failure = "the scorer failed with an unknown exception";
  }
  if (!failure.empty()) results.assign(items.size(), ErrorResult(v1::ScoreError::BROKEN, failure));
  for (v1::ScoreResult& result : results) BoundResult(result);
  return results;
}

void ScorerRunner::Core::Finish(std::list<Call>::iterator call, std::vector<v1::ScoreResult> results,
                                const std::map<std::string, double>& used) {
  const double seconds = absl::ToDoubleSeconds(MonotonicNow() - call->begun);
  const size_t images = call->batch.size();
  if (!is_over_) {
    series_.seconds->Observe(seconds);
    series_.batch_images->Observe(static_cast<double>(images));
    for (const auto& [what, amount] : used) series_.CountUse(what, amount);
  }
  if (call->is_stuck) {  // its images have been answered
    --stuck_calls_;
  } else {
    const double newest = seconds / static_cast<double>(images);
    seconds_per_image_ = seconds_per_image_ == 0 ? newest : kNewest * newest + (1 - kNewest) * seconds_per_image_;
    for (size_t i = 0; i < images; ++i) {
      Count(results[i]);
      queue_.Settle(call->batch[i], std::move(results[i]));
    }
  }
  calls_.erase(call);
}

void ScorerRunner::Core::Watch() {
  while (true) {
    bool is_news = false;
    {
      absl::MutexLock lock(&mutex_);
      while (queue_.is_empty() && calls_.empty() && !is_over_) is_watched_.Wait(&mutex_);
      if (is_over_) return;
      is_watched_.WaitWithTimeout(&mutex_, kPoll);
      const absl::Time now = MonotonicNow();
      queue_.EndUnwanted(now);
      is_news = FindStuck(now);
      ShowQueue();
    }
    TellEnded();
    if (is_news) TellHealth();
  }
}

bool ScorerRunner::Core::FindStuck(absl::Time now) {
  bool is_news = false;
  std::vector<ScoreQueue::Entry> lost;
  for (Call& call : calls_) {
    if (call.is_stuck || now < call.begun + TimeFor(call) + options_.stuck_after) continue;
    call.is_stuck = true;
    is_news = true;
    ++stuck_calls_;
    lost.insert(lost.end(), call.batch.begin(), call.batch.end());
  }
  if (!is_news) return false;
  const std::vector<ScoreQueue::Entry> waiting = queue_.TakeAll();
  lost.insert(lost.end(), waiting.begin(), waiting.end());
  for (const ScoreQueue::Entry& entry : lost) {
    v1::ScoreResult result = Stuck();
    Count(result);
    queue_.Settle(entry, std::move(result));
  }
  return true;
}

void ScorerRunner::Core::Count(const v1::ScoreResult& result) {
  ++(result.has_reward() ? images_scored_ : errors_);
  if (is_over_) return;
  if (result.has_reward()) return series_.rewards->Increment();
  switch (result.error().kind()) {
    case v1::ScoreError::BAD_INPUT:
      return series_.bad_input->Increment();
    case v1::ScoreError::OVERLOADED:
      return series_.overloaded->Increment();
    default:
      return series_.broken->Increment();
  }
}

v1::ScoreResult ScorerRunner::Core::Stuck() const {
  return ErrorResult(v1::ScoreError::BROKEN,
                     absl::StrCat("a call of the scorer has not returned ", absl::FormatDuration(options_.stuck_after),
                                  " after the time for its images; it gets no others until it does. Unload or reload "
                                  "it if it never will"));
}

// By the time told, half of those that wait now will have been scored: there is room, and the scorer is still busy.
v1::ScoreResult ScorerRunner::Core::NoRoom() const {
  v1::ScoreResult result = ErrorResult(
      v1::ScoreError::OVERLOADED, absl::StrCat(queue_.queued_images(), " images are waiting already; ask again later"));
  const double seconds = static_cast<double>(queue_.queued_images()) * seconds_per_image_ / calls_at_once_ / 2;
  result.mutable_error()->set_retry_after_s(std::min(seconds, kLongestRetryAfter));
  return result;
}

// As a difference: while a scorer is being replaced, the old one and the new one share the series.
void ScorerRunner::Core::ShowQueue() {
  if (is_over_) return;
  series_.queued_images->Increment(static_cast<double>(queue_.queued_images()) - static_cast<double>(shown_queue_));
  shown_queue_ = queue_.queued_images();
}

void ScorerRunner::Core::TellEnded() {
  ScoreQueue::Ended ended;
  {
    absl::MutexLock lock(&mutex_);
    if (!queue_.has_ended()) return;
    ended = queue_.TakeEnded();
    has_changed_.SignalAll();
    const absl::Time now = MonotonicNow();
    if (!is_over_)
      for (const auto& task : ended.tasks())
        series_.request_seconds->Observe(absl::ToDoubleSeconds(now - task->begun()));
  }
  ended.Tell();
}

void ScorerRunner::Core::TellHealth() {
  if (on_health_ == nullptr) return;
  absl::MutexLock health_lock(&health_mutex_);
  bool is_healthy = false;
  {
    absl::MutexLock lock(&mutex_);
    if (is_stopped_) return;
    is_healthy = stuck_calls_ == 0;
  }
  on_health_(is_healthy);
}

v1::ScorerInfo ScorerRunner::Core::Info() const {
  v1::ScorerInfo info;
  info.set_version(version_);
  info.set_weights_sha256(weights_sha256_);
  info.set_memory_bytes(memory_bytes_);
  info.set_largest_batch(static_cast<uint32_t>(batch_size_));
  absl::MutexLock lock(&mutex_);
  info.set_images_scored(images_scored_);
  info.set_errors(errors_);
  info.set_queued_images(static_cast<uint32_t>(queue_.queued_images()));
  if (!queue_.is_empty()) {
    info.set_seconds_since_use(0);
  } else if (last_used_ != absl::InfinitePast()) {
    info.set_seconds_since_use(absl::ToDoubleSeconds(MonotonicNow() - last_used_));
  }
  info.set_health(stuck_calls_ == 0 ? v1::ScorerInfo::HEALTHY : v1::ScorerInfo::STUCK);
  if (stuck_calls_ > 0) info.set_health_message(Stuck().error().message());
  return info;
}

ScorerRunner::ScorerRunner(std::shared_ptr<Scorer> scorer, const ScorerSeries& series, const RunnerOptions& options,
                           std::function<void(bool)> on_health)
    : core_(std::make_shared<Core>(std::move(scorer), series, options, std::move(on_health))) {
  absl::MutexLock lock(&join_mutex_);
  for (int i = 0; i < core_->calls_at_once(); ++i) workers_.emplace_back([core = core_] { core->Work(); });
  watch_ = std::thread([core = core_] { core->Watch(); });
}

ScorerRunner::~ScorerRunner() { Stop(absl::ZeroDuration()); }

absl::Status ScorerRunner::Score(const std::shared_ptr<ScoreTask>& task) { return core_->Score(task); }

absl::Status ScorerRunner::CheckPrompt(const std::string& prompt, const PromptMetadata& metadata) const {
  return core_->CheckPrompt(prompt, metadata);
}

void ScorerRunner::Stop(absl::Duration grace) {
  const bool have_all_returned = core_->Stop(grace);
  absl::MutexLock lock(&join_mutex_);
  if (watch_.joinable()) watch_.join();
  if (!have_all_returned && !workers_.empty()) has_left_a_call_ = true;
  for (std::thread& worker : workers_) {
    if (has_left_a_call_) {
      worker.detach();
    } else {
      worker.join();
    }
  }
  workers_.clear();
}

bool ScorerRunner::has_left_a_call() const {
  absl::MutexLock lock(&join_mutex_);
  return has_left_a_call_;
}

v1::ScorerInfo ScorerRunner::Info() const { return core_->Info(); }
const std::string& ScorerRunner::version() const { return core_->version(); }
const std::string& ScorerRunner::weights_sha256() const { return core_->weights_sha256(); }

}  // namespace flowawr
