// What the forward-process methods must converge to on the toy of toy_gaussian.h, derived from their formulas alone.
//
// Write z = u - v_old(x_t), u = eps - x0: given x_t, z is normal with mean 0 and variance V / t^2, V that of the
// posterior. Let a = (r - E r) / sd r be the advantage, which the rewards chosen keep within its clip, e = exp(a / T) /
// Z with Z = E exp(a / T), and delta = v_theta - v_old. In large groups K softmax(a / T) is e. Minus d / 2 times the
// gradient of a row's loss by v_theta, d the number of dimensions, is the row's pull:
//   FlowAWR       t / mean |z - delta| (E z - delta), E = e - 1, as x0_theta - target = -t (delta - E z)
//   DiffusionNFT  clip t [r (z - b delta) / mean |z - b delta| - (1 - r) (z + b delta) / mean |z + b delta|],
//                 r = (1 + a / clip) / 2, as v+- = v_old +- b delta
//   AWM           A ratio h(D) (z - delta) - old_beta delta, A = a / clip advantage_max, D = mean (z - delta)^2,
//                 h = dw/dD = t D^(p - 1) of ghuber
//   RWR           e (z - delta)
// With v_old held still a method converges, at each (x, t), to the delta where the mean of its pull given x_t = x is 0.
// With denominators and D at their averages, a ratio of 1 and, of AWM, A z for A (z - delta), that is
//   FlowAWR       E[(e - 1) z | x] = alpha (v_tilted - v_old), alpha(x) = E[e | x], v_tilted the velocity of the law
//                 times e
//   DiffusionNFT  Cov(a, z | x) / (clip b)
//   AWM           advantage_max / clip h(mean V / t^2) Cov(a, z | x) / old_beta
//   RWR           v_tilted - v_old, and exactly so
// FlowAWR's alpha is what is left of a regression on e - 1 instead of e: its mean over x_t is 1, and it is large where
// good samples come from. The denominators are means over d dimensions of what they divide, so that each answer is off
// by about one part in d; DiffusionNFT's by less, as its two halves cancel. AWM's A delta takes a part E[A | x] h /
// old_beta. The tests do not leave that out: they add it, computed from the pulls.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>
#include <vector>

#include "flowawr/v1/config.pb.h"
#include "tests/learner/algorithm/toy_gaussian.h"

namespace flowawr {

inline constexpr double kToyTemperature = 1.5;

// Rows at one noise level, as far as they matter.
struct ToyRows {
  double t = 0;
  at::Tensor z;     // [n, d]
  at::Tensor a, e;  // [n, 1]
};
// Of rows whose x_t is `x` and whose eps - x0 is `u`, both [n, d].
ToyRows ToyRowsOf(const Gaussian& policy, const Quadratic& reward, const at::Tensor& x, const at::Tensor& u, double t);

// Expectations given x_t = x.
struct ToyMoments {
  double t = 0;
  at::Tensor alpha;       // [n, 1]
  at::Tensor tilted;      // [n, d]: v_tilted - v_old
  at::Tensor covariance;  // [n, d]: Cov(a, z | x)
  at::Tensor variance;    // [d]: of z
};
ToyMoments ToyMomentsAt(const Gaussian& policy, const Quadratic& reward, const at::Tensor& x, double t);

// The pull where its denominators are what they are on average: weight (target - delta).
struct ToyRegression {
  at::Tensor weight;  // [n, 1]
  at::Tensor target;  // [n, d]
};

struct ToyMethod {
  std::string name;
  v1::AlgorithmConfig config;  // without pull towards a reference
  bool has_alpha = false;      // in `delta`, which is affine in x otherwise
  void (*set_kl_beta)(double kl_beta, v1::AlgorithmConfig& config);
  std::function<at::Tensor(const ToyRows& rows, const at::Tensor& delta)> pull;
  std::function<ToyRegression(const ToyRows& rows, const ToyMoments& moments)> regression;
  std::function<at::Tensor(const ToyMoments& moments)> delta;  // closed form, of the regression
};
const std::vector<ToyMethod>& ToyMethods();

}  // namespace flowawr
