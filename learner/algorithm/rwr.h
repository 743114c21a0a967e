// RWR, reward weighted regression (as ORW-CFM-W2, arXiv 2502.06061): the pretraining loss on the policy's own samples,
// weighted by exponentiated advantages and held to the base model.
#pragma once

#include <vector>

#include "learner/algorithm/forward_algorithm.h"

namespace flowawr {

// Signals are w - 1, with w = K softmax(advantage / temperature) over the group, so that 0 is no preference.
// loss = w mean (v_theta - (noise - x0))^2 + kl_beta mean (v_theta - v_ref)^2.
class Rwr final : public ForwardAlgorithm {
 public:
  Rwr(const v1::RunConfig& config, std::vector<float> sigmas);
  // Its samples are trained on whatever their rewards.
  bool Teaches(bool is_all_equal, bool is_old_current) const override;

 private:
  at::Tensor SignalsOf(const at::Tensor& advantages) const override;
  RowValues Values(const Rows& rows, const Velocities& velocities) const override;

  const v1::RwrConfig config_;
};

}  // namespace flowawr
