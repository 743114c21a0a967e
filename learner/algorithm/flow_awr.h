// FlowAWR (arXiv 2606.30376): good samples pull the old policy's x0 towards themselves, bad ones push it away, and the
// new policy is regressed onto where they lead.
#pragma once

#include <vector>

#include "learner/algorithm/forward_algorithm.h"

namespace flowawr {

// Energies from advantages [groups, samples] f64: with p = softmax over the group of advantage / temperature and
// q = p - 1/K, soft: E = K q; hard: E = q / max(std_group(q) + 1e-4, 1e-2); then clipped to +-energy_clip.
at::Tensor ComputeEnergies(const at::Tensor& advantages, const v1::FlowAwrConfig& config);

// Signals are energies E. x0_old = x_t - t v_old; target = x0_old + E (x0 - x0_old); x0_theta = x_t - t v_theta;
// loss = mean (x0_theta - target)^2 / stopgrad(max(mean |x0_theta - x0|, 1e-5)) + kl_beta mean (v_theta - v_ref)^2.
class FlowAwr final : public ForwardAlgorithm {
 public:
  FlowAwr(const v1::RunConfig& config, std::vector<float> sigmas);

 private:
  at::Tensor SignalsOf(const at::Tensor& advantages) const override;
  RowValues Values(const Rows& rows, const Velocities& velocities) const override;

  const v1::FlowAwrConfig config_;
};

}  // namespace flowawr
