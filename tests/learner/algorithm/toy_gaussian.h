// A toy of which everything is known in closed form: x0 is Gaussian, rewards are at most quadratic in it.
//
// Dimensions are independent; all tensors are f64 and broadcast. Where x0 is N(m, S) and x_t = (1 - t) x0 + t eps:
//   x_t is N((1 - t) m, Q), Q = (1 - t)^2 S + t^2
//   x0 given x_t is N(m + S (1 - t) / Q (x_t - (1 - t) m), S t^2 / Q);  v(x, t) = (x - E[x0 | x_t = x]) / t
//   N(m, S) times exp(l x0 - q x0^2), normalised, is N(S' (m / S + l), S'), 1 / S' = 1 / S + 2 q
// The posterior of a tilted law is the tilted posterior, so that the velocity of the tilted law is known too.
#pragma once

#include <ATen/core/Tensor.h>

namespace flowawr {

inline constexpr int64_t kToyDims = 8;  // latents are [kToyDims, 1, 1]

struct Gaussian {
  at::Tensor mean, variance;  // [..., kToyDims]
};

// A reward, or the logarithm of a tilt: slope . x0 - curve . x0^2.
struct Quadratic {
  at::Tensor slope, curve;  // [kToyDims]

  at::Tensor At(const at::Tensor& x0) const;  // [..., 1]
  at::Tensor MeanUnder(const Gaussian& law) const;
  at::Tensor DeviationUnder(const Gaussian& law) const;
  Quadratic Over(const at::Tensor& scale) const;
};

struct Tilted {
  Gaussian law;
  at::Tensor log_mean;  // [..., 1]: log E exp(tilt) under the law that was tilted
};
Tilted Tilt(const Gaussian& law, const Quadratic& tilt);

// Of x_t. `t` is a number or broadcasts, here and below.
Gaussian Noised(const Gaussian& law, const at::Tensor& t);
// Of x0, where x_t is `x`.
Gaussian Posterior(const Gaussian& law, const at::Tensor& x, const at::Tensor& t);
// E[eps - x0 | x_t = x], with gradient by the law.
at::Tensor VelocityOf(const Gaussian& law, const at::Tensor& x, const at::Tensor& t);
at::Tensor ToyTime(double t);  // as a tensor

// [2, kToyDims]: mean and logarithm of the variance, which gradient descent may move freely.
at::Tensor ParametersOf(const Gaussian& law);
Gaussian LawOf(const at::Tensor& parameters);

// The policy that the tests start from, and what they reward: c . x0 and -|x0 - m|^2 (but for a constant).
Gaussian ToyPolicy();
Quadratic LinearReward();
Quadratic QuadraticReward();

// [n, kToyDims] f64, standard normal.
at::Tensor ToyNoise(uint64_t seed, int64_t n);

}  // namespace flowawr
