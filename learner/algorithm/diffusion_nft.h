// DiffusionNFT (arXiv 2509.16117): a positive and a negative policy, mirrored at the old one, are each fitted to the
// samples, and a sample's reward says how much each of them counts.
#pragma once

#include <vector>

#include "learner/algorithm/forward_algorithm.h"

namespace flowawr {

// Signals are advantages over advantage_clip, from -1 to 1; r = (1 + signal) / 2, b = beta.
// v+- = v_old +- b (v_theta - v_old), x0+- = x_t - t v+-; l+- = mean (x0+- - x0)^2 / stopgrad(max(mean |x0+- - x0|, 1e-5));
// loss = advantage_clip (r l+ + (1 - r) l-) / b + kl_beta mean (v_theta - v_ref)^2.
class DiffusionNft final : public ForwardAlgorithm {
 public:
  DiffusionNft(const v1::RunConfig& config, std::vector<float> sigmas);

 private:
  at::Tensor SignalsOf(const at::Tensor& advantages) const override;
  RowValues Values(const Rows& rows, const Velocities& velocities) const override;

  const v1::DiffusionNftConfig config_;
  const double advantage_clip_;
};

}  // namespace flowawr
