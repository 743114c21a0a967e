// A run without a model: a training method whose signals are the rewards, and an engine that answers as it is told.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "learner/algorithm/algorithm.h"
#include "learner/gradient_engine.h"

namespace flowawr {

class ScriptedAlgorithm final : public Algorithm {
 public:
  void PrepareLease(v1::Lease& lease) const override { lease.mutable_sampler()->set_steps(3); }
  BatchSignals Signals(const at::Tensor& rewards, const std::vector<double>& weights) const override;
  bool Teaches(bool is_all_equal, bool) const override { return !is_all_equal; }
  // An engine's, which here needs none of them, but for the bound on what it finds.
  Needs needs() const override { return {.max_log_prob_drift = max_log_prob_drift}; }
  int64_t rows_per_sample() const override { return 1; }
  Rows MakeRows(const RowRange&) const override { return {}; }
  RowLoss Loss(const Rows&, const Velocities&) const override { return {}; }

  double max_log_prob_drift = 0;
};

// Thread-safe.
class ScriptedEngine final : public GradientEngine {
 public:
  using Script = std::function<absl::StatusOr<BatchGradient>(const GradientRequest&)>;
  explicit ScriptedEngine(Script script) : script_(std::move(script)) {}

  // Loss .5, policy_loss .4, kl .1, every element of the gradient 1; of batches that teach.
  static absl::StatusOr<BatchGradient> Teach(const GradientRequest& request);

  absl::StatusOr<BatchGradient> Compute(const GradientRequest& request) override;
  absl::StatusOr<std::vector<double>> LogProbDrift(const GradientRequest&) override { return drifts; }

  // What it was asked for: `update: ids of the groups`.
  std::vector<std::string> asked() const;

  std::vector<double> drifts;  // one a group of each batch

 private:
  const Script script_;
  mutable absl::Mutex mutex_;
  std::vector<std::string> asked_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace flowawr
