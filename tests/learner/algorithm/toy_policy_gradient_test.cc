// Flow-GRPO on the toy: on average its gradient is the policy gradient, known in closed form.
//
// Each step is x' = a x + b v(x) + std eps, and v of a Gaussian policy is a line in x: mean and variance of x after
// each step follow by recursion, and with them J, the mean reward of where the way ends, as a function of the
// parameters that each step has. At ratio 1 a row's loss has the gradient -A d log p / d parameters; its mean over rows
// is minus
//   sum over the steps that draw noise of dJ / d (parameters of that step) / (sd r * dims * number of those steps)
// as log p is a mean over dimensions and rows are averaged. CPS leaves 1 / (2 std^2) out of log p, which weights each
// step by 2 std^2: then it is no more the gradient of J, but that of its steps so weighted.
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include "common/diffusion/sampler.h"
#include "common/diffusion/sde_step.h"
#include "tests/learner/algorithm/toy_gaussian.h"
#include "tests/learner/algorithm/toy_training.h"
#include "tests/testing/tensor_error.h"

namespace flowawr {
namespace {

constexpr int64_t kSamples = 65536;
const std::vector<float> kSigmas = {1, 0.8, 0.6, 0.4, 0.2, 0};

// What Descent() must be, by the closed form.
at::Tensor ClosedFormDescent(const v1::StochasticSteps& window, const Quadratic& reward, const at::Tensor& parameters) {
  const int64_t steps = static_cast<int64_t>(kSigmas.size()) - 1;
  const at::Tensor leaf = parameters.expand({steps, -1, -1}).clone().requires_grad_();
  at::Tensor mean = at::zeros({kToyDims}, at::kDouble), variance = at::ones({kToyDims}, at::kDouble);
  at::Tensor weights = at::zeros({steps, 1, 1}, at::kDouble);
  for (int64_t i = 0; i < steps; ++i) {
    const at::Tensor t = ToyTime(kSigmas[i]), next = ToyTime(kSigmas[i + 1]);
    at::Tensor x_weight = at::ones_like(t), v_weight = next - t, std = at::zeros_like(t);
    if (IsStochastic(window, i)) {
      const SdeStep step = MakeSdeStep(window.kind(), window.noise_level(), t.view({1}), next.view({1}));
      x_weight = step.x_weight, v_weight = step.v_weight, std = step.std;
      weights[i].fill_(window.kind() == v1::CPS ? 2 * std.square().item<double>() : 1);
    }
    const at::Tensor offset = VelocityOf(LawOf(leaf[i]), at::zeros_like(mean), t);
    const at::Tensor slope = VelocityOf(LawOf(leaf[i]), at::ones_like(mean), t) - offset;
    mean = (x_weight + v_weight * slope) * mean + v_weight * offset;
    variance = (x_weight + v_weight * slope).square() * variance + std.square();
  }
  const Gaussian end{mean, variance};
  const at::Tensor by_step = torch::autograd::grad({reward.MeanUnder(end)}, {leaf})[0];
  return (weights * by_step).sum(0) / (reward.DeviationUnder(end).detach() * kToyDims * window.count());
}

class PolicyGradientTest : public testing::TestWithParam<v1::SdeKind> {};

TEST_P(PolicyGradientTest, IsThatOfTheMeanReward) {
  v1::AlgorithmConfig config;
  config.set_advantage_clip(100);
  auto& flow_grpo = *config.mutable_flow_grpo();
  flow_grpo.set_sde(GetParam());
  flow_grpo.set_noise_level(0.7);
  flow_grpo.set_clip_range(1e-4);
  flow_grpo.set_max_log_prob_drift(0.01);
  const auto algorithm = MakeToyAlgorithm(config, kSigmas);
  const Gaussian policy = ToyPolicy();

  Group group;
  algorithm->PrepareLease(group.lease);
  const absl::StatusOr<Sampled> sampled = Sample(
      {.solver = v1::EULER, .sigmas = kSigmas, .stochastic = group.lease.stochastic()},
      ToLatents(ToyNoise(1, kSamples)),
      [&](const at::Tensor& x, float t) { return ToLatents(VelocityOf(policy, FromLatents(x), ToyTime(t))); },
      [](int step) { return ToLatents(ToyNoise(2 + step, kSamples)); }, [](int) { return true; });
  ASSERT_TRUE(sampled.ok()) << sampled.status();
  group.x0 = sampled->latents;
  group.states = sampled->trajectory->states;
  group.log_probs = sampled->trajectory->log_probs;

  const Quadratic reward = QuadraticReward();
  const at::Tensor parameters = ParametersOf(policy);
  const Rows rows = MakeToyRows(*algorithm, group, reward, 1);
  const at::Tensor descent = Descent(*algorithm, rows, policy, parameters, GaussianModel);
  const at::Tensor expected = ClosedFormDescent(group.lease.stochastic(), reward, parameters);
  EXPECT_GT(Cosine(descent, expected), 0.99);
  EXPECT_LT(RelativeError(descent, expected), 0.06);  // three standard errors
}

INSTANTIATE_TEST_SUITE_P(BothKinds, PolicyGradientTest, testing::Values(v1::FLOW_SDE, v1::CPS),
                         [](const auto& info) { return v1::SdeKind_Name(info.param); });

}  // namespace
}  // namespace flowawr
