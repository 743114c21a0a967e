#include "learner/run_figures.h"

#include <utility>

namespace flowawr {

void RunFigures::BeginStage(const std::string& stage) {
  absl::MutexLock lock(&mutex_);
  stage_ = stage;
  stage_since_ = clock_.Now();
  board_.ShowStage(stage_, stage_since_);
}

void RunFigures::EndStage() {
  absl::MutexLock lock(&mutex_);
  const std::string stage = std::exchange(stage_, "");
  const double seconds = stage_seconds_[stage] += absl::ToDoubleSeconds(clock_.Now() - stage_since_);
  board_.ShowStage("", stage_since_);
  board_.Update([&](v1::Status& status) { (*status.mutable_learner_seconds())[stage] = seconds; });
}

std::map<std::string, double> RunFigures::TakeStageSeconds() {
  absl::MutexLock lock(&mutex_);
  std::map<std::string, double> seconds;
  for (const auto& [stage, total] : stage_seconds_) seconds[stage] = total - std::exchange(taken_[stage], total);
  return seconds;
}

void RunFigures::BeginPause() {
  absl::MutexLock lock(&mutex_);
  paused_since_ = clock_.Now();
}

void RunFigures::EndPause() {
  absl::MutexLock lock(&mutex_);
  paused_ += clock_.Now() - *paused_since_;
  paused_since_.reset();
}

double RunFigures::elapsed_s() const {
  absl::MutexLock lock(&mutex_);
  return elapsed_before_ + absl::ToDoubleSeconds(paused_since_.value_or(clock_.Now()) - made_at_ - paused_);
}

}  // namespace flowawr
