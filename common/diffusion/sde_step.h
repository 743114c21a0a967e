// Steps that draw noise: the distribution of x' at sigma' given x at sigma and the velocity v there, and how probable
// an x' is under it. The learner asks again what the actor asked: everything here carries gradients.
//
// x' is normal, its mean x_weight x + v_weight v, its deviation the same in every dimension. With a the noise level and
// dt = sigma' - sigma < 0:
// - FLOW_SDE (Flow-GRPO, arXiv 2505.05470): noise rate s = a sqrt(sigma / (1 - sigma)), at sigma = 1 with sigma' below
//   the line; mean x (1 + s^2 dt / (2 sigma)) + v (1 + s^2 (1 - sigma) / (2 sigma)) dt; deviation s sqrt(-dt). As steps
//   become many its marginals are the ODE's, but for the first step's surplus.
// - CPS (arXiv 2509.05952): with x0 = x - sigma v and eps = x + (1 - sigma) v,
//   mean (1 - sigma') x0 + sigma' cos(a pi/2) eps; deviation sigma' sin(a pi/2). The weights of picture and noise are
//   those of the schedule, which keeps the marginals where the picture is certain; where it is not, it draws pictures
//   that spread too little, however many steps.
// As a goes to 0 both become the Euler step.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "absl/status/status.h"
#include "flowawr/v1/config.pb.h"
#include "flowawr/v1/rollout.pb.h"

namespace flowawr {

// Of B rows, each [B] f32; without gradient.
struct SdeStep {
  at::Tensor x_weight, v_weight;
  at::Tensor noise_rate;  // s of FLOW_SDE; of CPS the deviation itself
  at::Tensor std;
  bool keeps_constants = true;  // see StepLogProb()
};

// `sigma` and `sigma_next` are [B], 1 >= sigma > sigma_next >= 0. `kind` and `noise_level` are such as
// CheckStochasticSteps() allows.
SdeStep MakeSdeStep(v1::SdeKind kind, double noise_level, const at::Tensor& sigma, const at::Tensor& sigma_next);

// The mean of x', [B, ...] f32, of `x` and `v` alike; a step of one row serves all of them.
at::Tensor StepMean(const SdeStep& step, const at::Tensor& x, const at::Tensor& v);

// log p of `next` [B, ...] where the mean is `mean`: [B] f32, the mean over dimensions, summed in f64.
// Of FLOW_SDE -(x' - mu)^2 / (2 std^2) - log std - log sqrt(2 pi).
// Of CPS -(x' - mu)^2: its authors drop all constants, 1 / (2 std^2) among them, and their clip range is meant for that.
at::Tensor StepLogProb(const SdeStep& step, const at::Tensor& next, const at::Tensor& mean);

// What StepLogProb() comes to for the x' that noise of that `mean_square` [B] f64 (StepNoiseMeanSquare()) led to,
// whatever x and v were; and by how much the one of a faithful actor may differ, [B] f64 each. An x' is rounded to f32,
// which its noise sees divided by std: hence 1e-4 + 1e-7 / std (of CPS times 2 std^2).
struct NoiseLogProb {
  at::Tensor value, tolerance;
};
NoiseLogProb LogProbOfNoise(const SdeStep& step, const at::Tensor& mean_square);

// InvalidArgument unless the kind is a named one, the noise level a number above 0 (of CPS at most 1), and the window
// lies within `steps` steps; that of CPS may not hold the last one, which ends at sigma 0 and draws no noise.
absl::Status CheckStochasticSteps(const v1::StochasticSteps& stochastic, int steps);

// Whether step number `step` is one of them.
inline bool IsStochastic(const v1::StochasticSteps& stochastic, int64_t step) {
  return step >= stochastic.first() && step < int64_t{stochastic.first()} + stochastic.count();
}

}  // namespace flowawr
