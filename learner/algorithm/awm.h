// AWM, advantage weighted matching (arXiv 2509.25050): the pretraining loss of a sample stands for its negative
// log-likelihood in a clipped policy gradient.
#pragma once

#include <vector>

#include "learner/algorithm/forward_algorithm.h"

namespace flowawr {

// Signals are advantages, scaled so that advantage_clip becomes advantage_max; A below. d = mean (v - (noise - x0))^2;
// log p = -w(d, t) by `weighting`; ratio = exp(log p of v_theta - log p of v_old), at the same noise and t;
// loss = max(-A ratio, -A clip(ratio, 1 +- clip_range)) + kl_beta mean (v_theta - v_ref)^2
//        + old_beta mean (v_theta - v_old)^2.
class Awm final : public ForwardAlgorithm {
 public:
  Awm(const v1::RunConfig& config, std::vector<float> sigmas);
  bool Teaches(bool is_all_equal, bool is_old_current) const override;

 private:
  at::Tensor SignalsOf(const at::Tensor& advantages) const override;
  RowValues Values(const Rows& rows, const Velocities& velocities) const override;

  const v1::AwmConfig config_;
  const double advantage_clip_;
};

}  // namespace flowawr
