// FlowAWR's arithmetic, all of it: advantages, energies, targets and the loss.
//
// Source: arXiv 2606.30376. Flow convention: x_t = (1 - t) x0 + t eps, velocity u = eps - x0, x0_hat = x_t - t v,
// t = sigma in (0, 1]. Pure functions: no clock, no randomness, no state. Standard deviations are the population's.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "flowawr/v1/config.pb.h"

namespace flowawr {

// Advantages [groups, samples] f64: clip((r - mean of the group) / (std + 1e-4), +-advantage_clip) / temperature, the
// std over the whole batch or the sample's group. `rewards` is the same shape, f64; a NaN marks a reward that could not
// be had: it is left out of all statistics and stays NaN.
at::Tensor ComputeAdvantages(const at::Tensor& rewards, const v1::AlgorithmConfig& algorithm);

// Energies [groups, samples] f64 from advantages of the same shape: with p = softmax over the group and q = p - 1/K,
// soft: E = K q; hard: E = q / max(std_group(q) + 1e-4, 1e-2); then clipped to +-energy_clip. Samples with a NaN
// advantage have E = 0 and K counts the others; a group whose advantages are all equal has E = 0.
at::Tensor ComputeEnergies(const at::Tensor& advantages, const v1::AlgorithmConfig& algorithm);

struct BatchEnergies {
  at::Tensor rewards;              // [groups, samples] f64, weighted sum; NaN where any term is missing
  at::Tensor energies;             // [groups, samples] f32
  std::vector<bool> is_all_equal;  // by group: E = 0 for every sample
  int64_t all_equal_groups = 0;
};

// The energies of a batch. `rewards` is [terms, groups, samples] f64; `weights` has one value a term. A term of weight 0
// takes no part: all bits are as if it were not there, whatever its rewards are and whether it has any.
// AVERAGE: the energy of the weighted sum of rewards. A term that no sample of a group has is left out of that group's
// sums, so that the others train on; sums of other terms cannot be compared, so that the standard deviation is taken
// over the groups that have the same terms, and a sample without a term that others of its group have has E = 0.
// DECOUPLED: the mean of one energy a term, weighted by the weights over the sum of their magnitudes, over the terms
// that the sample has.
BatchEnergies CombineRewards(const at::Tensor& rewards, const std::vector<double>& weights, v1::Combination combination,
                             const v1::AlgorithmConfig& algorithm);

// Rows of one forward pass. B rows of [C, H, W] latents; all f32.
struct LossInput {
  at::Tensor x_t;      // [B, C, H, W]
  at::Tensor x0;       // [B, C, H, W]
  at::Tensor sigma;    // [B]
  at::Tensor energy;   // [B]
  at::Tensor v_theta;  // [B, C, H, W], carries the gradient
  at::Tensor v_old;    // [B, C, H, W], no gradient: the policy that sampled x0
  at::Tensor v_ref;    // [B, C, H, W], no gradient: adapter off; undefined when kl_beta is 0
};

struct LossOutput {
  at::Tensor loss;    // [B], with gradient
  at::Tensor policy;  // [B], detached: the regression alone
  at::Tensor kl;      // [B], detached: mean |v_theta - v_ref|^2, not yet times kl_beta; zeros without v_ref
};

// x0_old = x_t - t v_old; target = x0_old + E (x0 - x0_old); x0_theta = x_t - t v_theta;
// loss = mean (x0_theta - target)^2 / stopgrad(max(mean |x0_theta - x0|, 1e-5)) + kl_beta mean (v_theta - v_ref)^2.
LossOutput FlowAwrLoss(const LossInput& input, double kl_beta);

}  // namespace flowawr
