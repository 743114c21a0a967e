#include "reward_server/scorer_runner.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/scoring/score_bounds.h"

namespace flowawr {
namespace {

constexpr size_t kMaxTextBytes = 64 << 10;  // of a prompt, and of its metadata
// How often a waiting request looks whether its caller is still there.
constexpr absl::Duration kPoll = absl::Milliseconds(20);

std::string WhatIsWrong(const v1::ScoreItem& item, uint32_t max_side) {
  const uint64_t height = item.height(), width = item.width();
  if (height == 0 || width == 0)
    return absl::StrCat("the image is ", height, " x ", width, " pixels: nothing to score");
  if (height > max_side || width > max_side)
    return absl::StrCat("the image is ", height, " x ", width, " pixels; at most ", max_side,
                        " a side are accepted (--max-image-side of the reward server)");
  if (item.image_rgb().size() != height * width * 3)
    return absl::StrCat("the image has ", item.image_rgb().size(), " bytes, but ", height, " x ", width,
                        " pixels of RGB take ", height * width * 3);
  size_t metadata_bytes = 0;
  for (const auto& [key, value] : item.metadata()) metadata_bytes += key.size() + value.size();
  if (item.prompt().size() > kMaxTextBytes || metadata_bytes > kMaxTextBytes)
    return absl::StrCat("the prompt has ", item.prompt().size(), " bytes and its metadata ", metadata_bytes,
                        "; at most ", kMaxTextBytes, " each are accepted");
  return "";
}

absl::Status TooLate() { return absl::DeadlineExceededError("the deadline passed before all images were scored"); }

}  // namespace

ScorerRunner::ScorerRunner(std::shared_ptr<Scorer> scorer, const ScorerSeries& series, const RunnerOptions& options)
    : scorer_(std::move(scorer)),
      series_(series),
      options_(options),
      batch_size_(std::max(scorer_->recommended_batch(), 1)) {
  absl::MutexLock lock(&join_mutex_);
  for (int i = 0; i < std::max(scorer_->parallel_calls(), 1); ++i) threads_.emplace_back([this] { Work(); });
}

ScorerRunner::~ScorerRunner() { Stop(); }

void ScorerRunner::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    is_stopped_ = true;
    has_work_.SignalAll();
    const absl::Time until = MonotonicNow() + options_.stop_grace;
    while (!requests_.empty() && MonotonicNow() < until) has_settled_.WaitWithTimeout(&mutex_, until - MonotonicNow());
    for (Request* request : requests_) GiveUp(*request, absl::FailedPreconditionError("the scorer was unloaded"));
  }
  absl::MutexLock lock(&join_mutex_);
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

absl::StatusOr<std::vector<v1::ScoreResult>> ScorerRunner::Score(absl::Span<const v1::ScoreItem* const> items,
                                                                 absl::Time deadline,
                                                                 absl::FunctionRef<bool()> is_gone) {
  Request request;
  request.items = items;
  request.deadline = deadline;
  request.results.resize(items.size());
  request.unsettled = items.size();
  absl::MutexLock lock(&mutex_);
  if (is_stopped_) return absl::FailedPreconditionError("the scorer is being unloaded");
  last_used_ = std::chrono::steady_clock::now();
  requests_.insert(&request);
  Enqueue(request);
  while (request.unsettled > 0) {
    const absl::Time poll = MonotonicNow() + kPoll;
    while (request.unsettled > 0 && MonotonicNow() < poll)
      has_settled_.WaitWithTimeout(&mutex_, poll - MonotonicNow());
    if (request.unsettled == 0) break;
    // What a thread is at ends soon, too: the scorer sees that it is not wanted any more.
    if (MonotonicNow() >= deadline) {
      GiveUp(request, TooLate());
    } else if (is_gone()) {
      GiveUp(request, absl::CancelledError("the caller has gone"));
    }
  }
  requests_.erase(&request);
  has_settled_.SignalAll();
  if (request.is_given_up) return request.end;
  return std::move(request.results);
}

absl::Status ScorerRunner::CheckPrompt(const std::string& prompt, const PromptMetadata& metadata) const {
  try {
    return scorer_->CheckPrompt(prompt, metadata);
  } catch (const std::exception&) {
    return absl::OkStatus();
  }
}

void ScorerRunner::Enqueue(Request& request) {
  for (size_t i = 0; i < request.items.size(); ++i) {
    if (std::string wrong = WhatIsWrong(*request.items[i], options_.max_side); !wrong.empty()) {
      Settle(request, i, ErrorResult(v1::ScoreError::BAD_INPUT, std::move(wrong)));
    } else if (queued_images_ >= options_.max_queued_images) {
      Settle(request, i,
             ErrorResult(v1::ScoreError::OVERLOADED,
                         absl::StrCat(queued_images_, " images are waiting already; ask again later")));
    } else {
      request.queued.push_back(i);
      ++queued_images_;
    }
  }
  if (!request.queued.empty()) turns_.push_back(&request);
  has_work_.SignalAll();
  series_.queued_images->Set(static_cast<double>(queued_images_));
}

void ScorerRunner::GiveUp(Request& request, absl::Status end) {
  if (request.is_given_up) return;
  request.end = std::move(end);
  request.is_given_up = true;
  turns_.erase(std::remove(turns_.begin(), turns_.end(), &request), turns_.end());
  request.unsettled -= request.queued.size();
  queued_images_ -= request.queued.size();
  request.queued.clear();
  has_settled_.SignalAll();
  series_.queued_images->Set(static_cast<double>(queued_images_));
}

void ScorerRunner::Settle(Request& request, size_t index, v1::ScoreResult result) {
  if (result.has_reward()) {
    ++images_scored_;
    series_.rewards->Increment();
  } else {
    ++errors_;
    switch (result.error().kind()) {
      case v1::ScoreError::BAD_INPUT:
        series_.bad_input->Increment();
        break;
      case v1::ScoreError::OVERLOADED:
        series_.overloaded->Increment();
        break;
      default:
        series_.broken->Increment();
        break;
    }
  }
  request.results[index] = std::move(result);
  --request.unsettled;
}

void ScorerRunner::Work() {
  while (true) {
    const std::vector<Entry> batch = TakeBatch();
    if (batch.empty()) return;
    const auto start = std::chrono::steady_clock::now();
    std::vector<v1::ScoreResult> results = ScoreBatch(batch);
    series_.seconds->Observe(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    series_.batch_images->Observe(static_cast<double>(batch.size()));
    absl::MutexLock lock(&mutex_);
    for (size_t i = 0; i < batch.size(); ++i) Settle(*batch[i].request, batch[i].index, std::move(results[i]));
    has_settled_.SignalAll();
  }
}

void ScorerRunner::WaitForBatch() {
  while (queued_images_ == 0 && !is_stopped_) has_work_.Wait(&mutex_);
  const absl::Time until = MonotonicNow() + options_.max_wait;
  while (batch_size_ > 1 && queued_images_ < batch_size_ && !is_stopped_ && MonotonicNow() < until)
    has_work_.WaitWithTimeout(&mutex_, until - MonotonicNow());
}

// Empty only when stopped and nothing is left.
std::vector<ScorerRunner::Entry> ScorerRunner::TakeBatch() {
  std::vector<Entry> batch;
  absl::MutexLock lock(&mutex_);
  while (batch.empty()) {
    WaitForBatch();
    if (turns_.empty() && is_stopped_) break;
    const absl::Time now = MonotonicNow();
    while (!turns_.empty() && batch.size() < batch_size_) {
      Request* const request = turns_.front();
      if (now >= request->deadline) {
        GiveUp(*request, TooLate());
        continue;
      }
      turns_.pop_front();
      batch.push_back({request, request->queued.front()});
      request->queued.pop_front();
      --queued_images_;
      if (!request->queued.empty()) turns_.push_back(request);
    }
  }
  series_.queued_images->Set(static_cast<double>(queued_images_));
  return batch;
}

std::vector<v1::ScoreResult> ScorerRunner::ScoreBatch(absl::Span<const Entry> batch) {
  std::vector<const v1::ScoreItem*> items;
  for (const Entry& entry : batch) items.push_back(entry.request->items[entry.index]);
  const auto start = std::chrono::steady_clock::now();
  const absl::Duration time = options_.max_image_time * static_cast<int64_t>(items.size());
  const auto still_wanted = [&](size_t i) -> absl::Status {
    if (batch[i].request->is_given_up) return absl::CancelledError("nobody waits for the result any more");
    if (absl::FromChrono(std::chrono::steady_clock::now() - start) < time) return absl::OkStatus();
    return absl::DeadlineExceededError(
        absl::StrCat("scoring the image takes more than ", absl::FormatDuration(options_.max_image_time),
                     " (--max-image-seconds of the reward server)"));
  };
  std::vector<v1::ScoreResult> results;
  std::string failure;
  try {
    results = scorer_->Score(items, still_wanted);
    if (results.size() != items.size())
      failure = absl::StrCat("the scorer gave ", results.size(), " results for ", items.size(), " images");
  } catch (const std::exception& error) {
    failure = absl::StrCat("the scorer failed: ", error.what());
  } catch (...) {
    failure = "the scorer failed with an unknown exception";
  }
  if (!failure.empty()) results.assign(items.size(), ErrorResult(v1::ScoreError::BROKEN, failure));
  for (v1::ScoreResult& result : results) BoundResult(result);
  return results;
}

uint64_t ScorerRunner::images_scored() const {
  absl::MutexLock lock(&mutex_);
  return images_scored_;
}

uint64_t ScorerRunner::errors() const {
  absl::MutexLock lock(&mutex_);
  return errors_;
}

size_t ScorerRunner::queued_images() const {
  absl::MutexLock lock(&mutex_);
  return queued_images_;
}

std::optional<absl::Duration> ScorerRunner::unused_for() const {
  absl::MutexLock lock(&mutex_);
  if (!requests_.empty()) return absl::ZeroDuration();
  if (!last_used_) return std::nullopt;
  return absl::FromChrono(std::chrono::steady_clock::now() - *last_used_);
}

}  // namespace flowawr
