// From the rewards of a batch to one number a sample, as far as methods agree: advantages, missing rewards, several
// rewards.
//
// A reward that could not be had is NaN: it is left out of all statistics. Standard deviations are the population's.
// Pure functions.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "absl/functional/function_ref.h"
#include "flowawr/v1/config.pb.h"
#include "learner/algorithm/algorithm.h"

namespace flowawr {

// Mean and variance of the finite values along the last dimension, which is kept.
struct Moments {
  at::Tensor mean, variance;
};
Moments FiniteMoments(const at::Tensor& values);

struct AdvantageOptions {
  double clip = 5;
  v1::StdScope std_scope = v1::BATCH;  // over the whole batch, or the sample's group
};

// clip((r - mean of the group) / (std + 1e-4), +-clip), of rewards [groups, samples] f64; NaN where a reward is.
at::Tensor ComputeAdvantages(const at::Tensor& rewards, const AdvantageOptions& options);

// What a method makes of advantages [groups, samples] f64: its signals, of the same shape and dtype. A sample with a NaN
// advantage, and a group whose advantages are all equal, get signal 0 whatever it makes of them.
using SignalsOfAdvantages = absl::FunctionRef<at::Tensor(const at::Tensor& advantages)>;

// The signals of a batch. `rewards` is [terms, groups, samples] f64; `weights` has one value a term. A term of weight 0
// takes no part: all bits are as if it were not there, whatever its rewards are and whether it has any.
// AVERAGE: the signal of the weighted sum of rewards. A term that no sample of a group has is left out of that group's
// sums, so that the others train on; sums of other terms cannot be compared, so that the standard deviation is taken
// over the groups that have the same terms, and a sample without a term that others of its group have has signal 0.
// DECOUPLED: the mean of one signal a term, weighted by the weights over the sum of their magnitudes, over the terms
// that the sample has.
BatchSignals CombineRewards(const at::Tensor& rewards, const std::vector<double>& weights, v1::Combination combination,
                            const AdvantageOptions& options, SignalsOfAdvantages signals_of);

// p - 1/K with p the softmax over each group and K the number of the advantages that there are: how much more than an equal
// share a sample weighs. [groups, samples] f64, and K [groups, 1] f64. Meaningless where the advantage is NaN.
struct ExcessWeights {
  at::Tensor excess, samples;
};
ExcessWeights ComputeExcessWeights(const at::Tensor& advantages);

}  // namespace flowawr
