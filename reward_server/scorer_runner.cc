#include "reward_server/scorer_runner.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <exception>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace flowawr {
namespace {

constexpr uint32_t kMaxSide = 16384;
// How often a waiting request looks whether its caller is still there.
constexpr absl::Duration kPoll = absl::Milliseconds(20);

std::string WhatIsWrong(const v1::ScoreItem& item) {
  const uint64_t height = item.height(), width = item.width();
  if (height == 0 || width == 0)
    return absl::StrCat("the image is ", height, " x ", width, " pixels: nothing to score");
  if (height > kMaxSide || width > kMaxSide)
    return absl::StrCat("the image is ", height, " x ", width, " pixels; at most ", kMaxSide, " a side are accepted");
  if (item.image_rgb().size() != height * width * 3)
    return absl::StrCat("the image has ", item.image_rgb().size(), " bytes, but ", height, " x ", width,
                        " pixels of RGB take ", height * width * 3);
  return "";
}

}  // namespace

ScorerRunner::ScorerRunner(std::shared_ptr<Scorer> scorer, const ScorerSeries& series, const RunnerOptions& options)
    : scorer_(std::move(scorer)),
      series_(series),
      options_(options),
      batch_size_(std::max(scorer_->recommended_batch(), 1)) {
  absl::MutexLock lock(&join_mutex_);
  for (int i = 0; i < options.threads; ++i) threads_.emplace_back([this] { Work(); });
}

ScorerRunner::~ScorerRunner() { Stop(); }

void ScorerRunner::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    is_stopped_ = true;
  }
  absl::MutexLock lock(&join_mutex_);
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

absl::StatusOr<std::vector<v1::ScoreResult>> ScorerRunner::Score(absl::Span<const v1::ScoreItem* const> items,
                                                                 absl::Time deadline,
                                                                 absl::FunctionRef<bool()> is_gone) {
  Request request;
  request.results.resize(items.size());
  request.unsettled = items.size();
  const auto is_done = [&request] { return request.unsettled == 0; };
  absl::MutexLock lock(&mutex_);
  if (is_stopped_) return absl::FailedPreconditionError("the scorer is being unloaded");
  Enqueue(items, deadline, request);
  while (!mutex_.AwaitWithTimeout(absl::Condition(&is_done), kPoll)) {
    const bool is_late = absl::Now() >= deadline;
    if (!is_late && !is_gone()) continue;
    GiveUp(request);
    mutex_.Await(absl::Condition(&is_done));  // for images that a thread is at
    return is_late ? absl::DeadlineExceededError("the deadline passed before all images were scored")
                   : absl::CancelledError("the caller has gone");
  }
  if (request.is_given_up) return absl::DeadlineExceededError("the deadline passed before all images were scored");
  return std::move(request.results);
}

void ScorerRunner::Enqueue(absl::Span<const v1::ScoreItem* const> items, absl::Time deadline, Request& request) {
  for (size_t i = 0; i < items.size(); ++i) {
    if (std::string wrong = WhatIsWrong(*items[i]); !wrong.empty()) {
      Settle(request, i, ErrorResult(v1::ScoreError::BAD_INPUT, std::move(wrong)));
    } else if (queue_.size() >= options_.max_queued_images) {
      Settle(request, i,
             ErrorResult(v1::ScoreError::OVERLOADED,
                         absl::StrCat(queue_.size(), " images are waiting already; ask again later")));
    } else {
      queue_.push_back({items[i], &request, i, deadline});
    }
  }
  series_.queued_images->Set(static_cast<double>(queue_.size()));
}

void ScorerRunner::GiveUp(Request& request) {
  request.is_given_up = true;
  const auto end = std::remove_if(queue_.begin(), queue_.end(),
                                  [&request](const Entry& entry) { return entry.request == &request; });
  request.unsettled -= std::distance(end, queue_.end());
  queue_.erase(end, queue_.end());
  series_.queued_images->Set(static_cast<double>(queue_.size()));
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
  }
}

// Empty only when stopped and nothing is left.
std::vector<ScorerRunner::Entry> ScorerRunner::TakeBatch() {
  std::vector<Entry> batch;
  absl::MutexLock lock(&mutex_);
  while (batch.empty()) {
    mutex_.Await(absl::Condition(this, &ScorerRunner::HasWorkOrStopped));
    if (batch_size_ > 1)
      mutex_.AwaitWithTimeout(absl::Condition(this, &ScorerRunner::HasBatchOrStopped), options_.max_wait);
    if (queue_.empty() && is_stopped_) break;
    const absl::Time now = absl::Now();
    while (!queue_.empty() && batch.size() < batch_size_) {
      const Entry entry = queue_.front();
      if (now >= entry.deadline) {
        GiveUp(*entry.request);
        continue;
      }
      queue_.pop_front();
      batch.push_back(entry);
    }
  }
  series_.queued_images->Set(static_cast<double>(queue_.size()));
  return batch;
}

std::vector<v1::ScoreResult> ScorerRunner::ScoreBatch(absl::Span<const Entry> batch) {
  std::vector<const v1::ScoreItem*> items;
  for (const Entry& entry : batch) items.push_back(entry.item);
  std::vector<v1::ScoreResult> results;
  std::string failure;
  try {
    results = scorer_->Score(items);
    if (results.size() != items.size())
      failure = absl::StrCat("the scorer gave ", results.size(), " results for ", items.size(), " images");
  } catch (const std::exception& error) {
    failure = absl::StrCat("the scorer failed: ", error.what());
  } catch (...) {
    failure = "the scorer failed with an unknown exception";
  }
  if (!failure.empty()) return {items.size(), ErrorResult(v1::ScoreError::BROKEN, failure)};
  for (v1::ScoreResult& result : results) {
    if (result.has_error() || (result.has_reward() && std::isfinite(result.reward()))) continue;
    result =
        ErrorResult(v1::ScoreError::BROKEN, absl::StrCat("the scorer gave no finite reward, but ", result.reward()));
  }
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
  return queue_.size();
}

}  // namespace flowawr
