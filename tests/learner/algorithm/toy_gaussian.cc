#include "tests/learner/algorithm/toy_gaussian.h"

#include <torch/types.h>

#include "common/diffusion/noise.h"

namespace flowawr {

at::Tensor Quadratic::At(const at::Tensor& x0) const { return (slope * x0 - curve * x0.square()).sum(-1, true); }

at::Tensor Quadratic::MeanUnder(const Gaussian& law) const {
  return (slope * law.mean - curve * (law.mean.square() + law.variance)).sum(-1, true);
}

at::Tensor Quadratic::DeviationUnder(const Gaussian& law) const {
  const at::Tensor linear = (slope - 2 * curve * law.mean).square() * law.variance;
  return (linear + 2 * (curve * law.variance).square()).sum(-1, true).sqrt();
}

Quadratic Quadratic::Over(const at::Tensor& scale) const { return {slope / scale, curve / scale}; }

Tilted Tilt(const Gaussian& law, const Quadratic& tilt) {
  const at::Tensor variance = 1 / (1 / law.variance + 2 * tilt.curve);
  const at::Tensor mean = variance * (law.mean / law.variance + tilt.slope);
  const at::Tensor squares = mean.square() / variance - law.mean.square() / law.variance;
  return {{mean, variance}, ((variance / law.variance).log() + squares).sum(-1, true) / 2};
}

Gaussian Noised(const Gaussian& law, const at::Tensor& t) {
  return {(1 - t) * law.mean, (1 - t).square() * law.variance + t.square()};
}

Gaussian Posterior(const Gaussian& law, const at::Tensor& x, const at::Tensor& t) {
  const Gaussian noised = Noised(law, t);
  const at::Tensor share = law.variance / noised.variance;
  return {law.mean + share * (1 - t) * (x - noised.mean), share * t.square()};
}

at::Tensor VelocityOf(const Gaussian& law, const at::Tensor& x, const at::Tensor& t) {
  return (x - Posterior(law, x, t).mean) / t;
}

at::Tensor ToyTime(double t) { return at::scalar_tensor(t, at::kDouble); }

at::Tensor ParametersOf(const Gaussian& law) { return at::stack({law.mean, law.variance.log()}); }

Gaussian LawOf(const at::Tensor& parameters) { return {parameters[0], parameters[1].exp()}; }

Gaussian ToyPolicy() {
  return {at::linspace(-0.5, 0.8, kToyDims, at::kDouble), at::linspace(0.6, 1.5, kToyDims, at::kDouble)};
}

Quadratic LinearReward() {
  const at::Tensor slope = at::tensor({1.0, -0.5, 0.8, 0.3, -0.7, 0.6, 0.2, -0.4}, at::kDouble);
  return {slope, at::zeros_like(slope)};
}

Quadratic QuadraticReward() {
  const at::Tensor wanted = ToyPolicy().mean + at::linspace(0.9, -0.9, kToyDims, at::kDouble);
  return {2 * wanted, at::ones_like(wanted)};
}

at::Tensor ToyNoise(uint64_t seed, int64_t n) {
  return InitialNoise(seed, 0, 0, {n, kToyDims}).to(at::kDouble);
}

}  // namespace flowawr
