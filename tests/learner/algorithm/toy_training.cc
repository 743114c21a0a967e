#include "tests/learner/algorithm/toy_training.h"

#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <numeric>
#include <utility>

namespace flowawr {

std::unique_ptr<const Algorithm> MakeToyAlgorithm(const v1::AlgorithmConfig& config, std::vector<float> sigmas) {
  v1::RunConfig run;
  *run.mutable_algorithm() = config;
  run.mutable_rewards()->set_combination(v1::AVERAGE);
  run.mutable_sampler()->set_steps(static_cast<int>(sigmas.size()) - 1);
  run.mutable_sampler()->set_guidance_scale(1);
  run.mutable_train()->set_timestep_fraction(1);
  run.mutable_train()->set_timesteps_per_sample(static_cast<int>(sigmas.size()));
  return MakeAlgorithm(run, std::move(sigmas)).value();
}

Rows MakeToyRows(const Algorithm& algorithm, const Group& group, const Quadratic& reward, uint64_t seed) {
  const int64_t samples = group.x0.size(0);
  const at::Tensor rewards = reward.At(FromLatents(group.x0)).view({1, 1, samples});
  std::vector<int64_t> all(samples);
  std::iota(all.begin(), all.end(), 0);
  return algorithm.MakeRows({.seed = seed,
                             .update = 0,
                             .group = &group,
                             .samples = &all,
                             .begin = 0,
                             .end = samples * algorithm.rows_per_sample(),
                             .signals = algorithm.Signals(rewards, {1.0}).values[0]});
}

Rows DrawToyRows(const Algorithm& algorithm, const Gaussian& policy, const Quadratic& reward, int64_t samples,
                 uint64_t seed) {
  Group group;
  algorithm.PrepareLease(group.lease);
  group.x0 = ToLatents(policy.mean + policy.variance.sqrt() * ToyNoise(seed, samples));
  return MakeToyRows(algorithm, group, reward, seed);
}

at::Tensor GaussianModel(const at::Tensor& x, const at::Tensor& t, const at::Tensor& parameters) {
  return VelocityOf(LawOf(parameters), x, t);
}

at::Tensor Descent(const Algorithm& algorithm, const Rows& rows, const Gaussian& old_law, const at::Tensor& parameters,
                   ToyModel model) {
  const at::Tensor x = FromLatents(rows.x), t = rows.sigma.to(at::kDouble).view({-1, 1});
  const at::Tensor leaf = parameters.detach().clone().requires_grad_();
  const Algorithm::Needs needs = algorithm.needs();
  const Velocities velocities{.theta = ToLatents(model(x, t, leaf)),
                              .old = needs.old ? ToLatents(VelocityOf(old_law, x, t)) : at::Tensor(),
                              .ref = needs.reference ? ToLatents(VelocityOf(ToyPolicy(), x, t)) : at::Tensor()};
  return -torch::autograd::grad({algorithm.Loss(rows, velocities).loss.mean()}, {leaf})[0];
}

at::Tensor ToLatents(const at::Tensor& values) { return values.to(at::kFloat).view({-1, kToyDims, 1, 1}); }

at::Tensor FromLatents(const at::Tensor& latents) { return latents.to(at::kDouble).view({-1, kToyDims}); }

at::Tensor Solve(absl::FunctionRef<at::Tensor(const at::Tensor&)> pull, at::Tensor start) {
  constexpr double kNear = 1e-5;
  at::Tensor point = std::move(start), now = pull(point);
  double step = 0.1;
  for (int i = 0; i < 200; ++i) {
    const at::Tensor move = step * now;
    if (move.abs().max().item<double>() < kNear) return point;
    point = point + move;
    const at::Tensor next = pull(point);
    const double slope = (move * (now - next)).sum().item<double>();
    if (slope <= 0) break;
    step = move.square().sum().item<double>() / slope;
    now = next;
  }
  ADD_FAILURE() << "the pull has no zero near where it began: " << now;
  return point;
}

}  // namespace flowawr
