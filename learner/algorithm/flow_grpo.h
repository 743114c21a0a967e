// Flow-GRPO (arXiv 2505.05470): a clipped policy gradient on the steps of a sampler that draws noise.
//
// Its groups bring the states of a window of such steps and how probable each was. Rows are those steps: the model's
// answer at a state says again what the step's distribution is (common/diffusion/sde_step.h).
#pragma once

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "learner/algorithm/advantages.h"
#include "learner/algorithm/algorithm.h"

namespace flowawr {

// Signals are advantages A. ratio = exp(log p - log p of the policy that sampled);
// loss = max(-A ratio, -A clip(ratio, 1 +- clip_range)) + kl_beta mean (mu - mu_ref)^2 / (2 s^2), s the noise rate.
class FlowGrpo final : public Algorithm {
 public:
  // InvalidArgument when the window does not lie within the sampler's steps.
  static absl::StatusOr<std::unique_ptr<const Algorithm>> Make(const v1::RunConfig& config, std::vector<float> sigmas);

  // `window` steps, from one that is drawn for each group by (seed, group id).
  void PrepareLease(v1::Lease& lease) const override;
  BatchSignals Signals(const at::Tensor& rewards, const std::vector<double>& weights) const override;
  bool Teaches(bool is_all_equal, bool is_old_current) const override;
  Needs needs() const override;
  int64_t rows_per_sample() const override { return window_; }
  Rows MakeRows(const RowRange& range) const override;
  RowLoss Loss(const Rows& rows, const Velocities& velocities) const override;
  at::Tensor LogProbDrift(const Rows& rows, const at::Tensor& velocity) const override;

 private:
  FlowGrpo(const v1::RunConfig& config, std::vector<float> sigmas);
  v1::StochasticSteps WindowAt(int64_t first) const;

  const v1::FlowGrpoConfig config_;
  const v1::SamplerConfig sampler_;
  const v1::Combination combination_;
  const AdvantageOptions advantages_;
  const uint64_t seed_;
  const std::vector<float> sigmas_;
  const int64_t window_;  // steps that draw noise
  const int64_t last_;    // the last step at which the window may begin; the first is 0
};

}  // namespace flowawr
