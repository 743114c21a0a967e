#include "common/diffusion/sde_step.h"

#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/diffusion/noise.h"
#include "common/diffusion/sigmas.h"
#include "common/tensor/safetensors.h"
#include "tests/testing/parity.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

constexpr v1::SdeKind kKinds[] = {v1::FLOW_SDE, v1::CPS};

v1::StochasticSteps Steps(v1::SdeKind kind, double noise_level, uint32_t first, uint32_t count) {
  v1::StochasticSteps steps;
  steps.set_kind(kind);
  steps.set_noise_level(noise_level);
  steps.set_first(first);
  steps.set_count(count);
  return steps;
}

// All steps of a schedule but the last as one batch, so that every row has sigmas of its own.
struct Case {
  std::string name;
  v1::SdeKind kind;
  double level;
  at::Tensor sigma, next, x, v, eps;
};

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const v1::SdeKind kind : kKinds) {
    for (const double level : {0.05, 0.3, 0.7, 0.8, 1.0}) {
      for (const int steps : {2, 10, 40}) {
        const std::vector<float> sigmas = FlowMatchSigmas(steps, 3);
        const int64_t rows = steps - 1;
        const at::Tensor all = torch::tensor(sigmas);
        const uint64_t seed = cases.size();
        cases.push_back({absl::StrCat("case", seed), kind, level, all.narrow(0, 0, rows), all.narrow(0, 1, rows),
                         InitialNoise(1, seed, 0, {rows, 4, 6, 5}), 2 * InitialNoise(2, seed, 0, {rows, 4, 6, 5}),
                         InitialNoise(3, seed, 0, {rows, 4, 6, 5})});
      }
    }
  }
  return cases;
}

double RelativeError(const at::Tensor& actual, const at::Tensor& expected) {
  return ((actual.to(at::kDouble) - expected).norm() / expected.norm()).item<double>();
}

TEST(SdeStepTest, AgreesWithThePublishedFormulasAndSoDoesItsGradient) {
  const TempFolder folder;
  std::map<std::string, at::Tensor> inputs;
  for (const Case& c : Cases()) {
    inputs[c.name + ".x"] = c.x;
    inputs[c.name + ".v"] = c.v;
    inputs[c.name + ".eps"] = c.eps;
    inputs[c.name + ".sigmas"] = at::stack({c.sigma, c.next}, 1);
    inputs[c.name + ".kind"] = torch::tensor({c.kind == v1::CPS ? 1.0 : 0.0, c.level}, at::kDouble);
  }
  ASSERT_TRUE(WriteSafetensors(folder / "cases", inputs).ok());
  ASSERT_TRUE(RunPython("tests/common/diffusion/sde_reference.py", {folder / "cases", folder / "out"}));
  const auto file = SafetensorsFile::Open(folder / "out");
  ASSERT_TRUE(file.ok()) << file.status();
  for (const Case& c : Cases()) {
    const std::string kind = c.kind == v1::CPS ? "CPS" : "Flow-GRPO's SDE";
    const ParityCheck check{kind + " steps with log-probabilities", "5 noise levels, 2, 10 and 40 steps, shift 3",
                            "the formulas, PyTorch f64"};
    const auto expected = [&](const char* part) { return file->tensors().at(absl::StrCat(c.name, ".", part)); };
    const SdeStep step = MakeSdeStep(c.kind, c.level, c.sigma, c.next);
    const at::Tensor v = c.v.clone().requires_grad_(true);
    const at::Tensor mean = StepMean(step, c.x, v);
    const at::Tensor next = expected("next").to(at::kFloat);
    const at::Tensor log_prob = StepLogProb(step, next, mean);
    const at::Tensor gradient = torch::autograd::grad({log_prob.sum()}, {v})[0];
    EXPECT_EQ(log_prob.scalar_type(), at::kFloat);
    ExpectAtMost(check, c.name, "relative error of the means", RelativeError(mean.detach(), expected("mean")), 1e-6);
    ExpectAtMost(check, c.name, "relative error of the deviations", RelativeError(step.std, expected("std")), 1e-6);
    ExpectAtMost(check, c.name, "relative error of the noise rates", RelativeError(step.noise_rate, expected("rate")),
                 1e-6);
    ExpectAtMost(check, c.name, "relative error of the log-probabilities",
                 RelativeError(log_prob.detach(), expected("log_prob")), 1e-5);
    // x' is rounded to f32, which the gradient sees divided by the deviation.
    ExpectAtMost(check, c.name, "relative error of their gradients", RelativeError(gradient, expected("gradient")),
                 1e-5 + 2e-7 / step.std.min().item<double>());
  }
}

TEST(SdeStepTest, OneRowOfSigmasServesAllRows) {
  const at::Tensor x = InitialNoise(1, 0, 0, {3, 2, 2}), v = InitialNoise(2, 0, 0, {3, 2, 2});
  for (const v1::SdeKind kind : kKinds) {
    const SdeStep one = MakeSdeStep(kind, 0.7, at::full({1}, 0.6f), at::full({1}, 0.5f));
    const SdeStep each = MakeSdeStep(kind, 0.7, at::full({3}, 0.6f), at::full({3}, 0.5f));
    const at::Tensor mean = StepMean(one, x, v);
    EXPECT_TRUE(at::equal(mean, StepMean(each, x, v)));
    EXPECT_TRUE(at::equal(StepLogProb(one, x, mean), StepLogProb(each, x, mean)));
  }
}

TEST(SdeStepTest, BecomesAnEulerStepAsTheNoiseGoes) {
  const at::Tensor x = InitialNoise(1, 0, 0, {1, 100}), v = InitialNoise(2, 0, 0, {1, 100});
  for (const v1::SdeKind kind : kKinds) {
    const SdeStep step = MakeSdeStep(kind, 1e-6, at::full({1}, 0.6f), at::full({1}, 0.5f));
    EXPECT_LT((StepMean(step, x, v) - (x - 0.1 * v)).abs().max().item<double>(), 1e-6);
    EXPECT_LT(step.std.item<double>(), 1e-6);
  }
}

// log p of a step says how probable its noise is: a finite difference of the probability's own scale.
TEST(SdeStepTest, GradientOfTheLogProbabilityIsThatOfFiniteDifferences) {
  const at::Tensor x = InitialNoise(1, 0, 0, {1, 8}), v = InitialNoise(2, 0, 0, {1, 8});
  for (const v1::SdeKind kind : kKinds) {
    const SdeStep step = MakeSdeStep(kind, 0.7, at::full({1}, 0.6f), at::full({1}, 0.5f));
    const at::Tensor next = StepMean(step, x, v) + step.std * InitialNoise(3, 0, 0, {1, 8});
    const auto log_prob = [&](const at::Tensor& velocity) {
      return StepLogProb(step, next, StepMean(step, x, velocity));
    };
    const at::Tensor at_v = v.clone().requires_grad_(true);
    const at::Tensor gradient = torch::autograd::grad({log_prob(at_v).sum()}, {at_v})[0];
    for (int64_t i = 0; i < 8; ++i) {
      constexpr double kStep = 0.05;  // log p is quadratic in v: a central difference is exact
      at::Tensor up = v.clone(), down = v.clone();
      up[0][i] += kStep;
      down[0][i] -= kStep;
      const double difference = (log_prob(up) - log_prob(down)).item<double>() / (2 * kStep);
      EXPECT_NEAR(gradient[0][i].item<double>(), difference, 1e-4 + 1e-3 * std::abs(difference)) << i;
    }
  }
}

// What the learner can tell without the model, of a faithful step and of one with other noise.
TEST(SdeStepTest, TheLogProbabilityFollowsFromTheNoiseAlone) {
  double most_used = 0;
  for (const v1::SdeKind kind : kKinds) {
    for (const double level : {0.001, 0.01, 0.1, 0.7, 1.0}) {
      for (const int steps : {10, 40}) {
        const std::vector<float> sigmas = FlowMatchSigmas(steps, 3);
        for (int i = 0; i + 2 < static_cast<int>(sigmas.size()); ++i) {
          SCOPED_TRACE(absl::StrCat(v1::SdeKind_Name(kind), ", level ", level, ", step ", i, " of ", steps));
          const SdeStep step = MakeSdeStep(kind, level, at::full({1}, sigmas[i]), at::full({1}, sigmas[i + 1]));
          const at::Tensor x = 2 * InitialNoise(1, i, 0, {4, 8, 8, 16}), v = 3 * InitialNoise(2, i, 0, {4, 8, 8, 16});
          const at::Tensor noise = StepNoise(3, i, 0, i, {4, 8, 8, 16});
          const at::Tensor mean = StepMean(step, x, v);
          const at::Tensor log_prob = StepLogProb(step, mean + step.std * noise, mean);
          const auto distance = [&](const at::Tensor& from_noise) {
            const NoiseLogProb expected =
                LogProbOfNoise(step, from_noise.to(at::kDouble).square().flatten(1).mean(1));
            return ((log_prob.to(at::kDouble) - expected.value).abs() / expected.tolerance);
          };
          EXPECT_LT(distance(noise).max().item<double>(), 1);
          most_used = std::max(most_used, distance(noise).max().item<double>());
          if (level > 0.005) {  // where the tolerance is small beside the spread of the noise's mean square
            EXPECT_GT(distance(StepNoise(3, i, 0, i + 1, {4, 8, 8, 16})).max().item<double>(), 1);
          }
        }
      }
    }
  }
  RecordProperty("most_of_the_tolerance_used", absl::StrCat(most_used));
  EXPECT_LT(most_used, 0.7);
}

TEST(SdeStepTest, RefusesStepsThatNoSamplerCanTake) {
  const auto ok = [](const v1::StochasticSteps& steps) { return CheckStochasticSteps(steps, 10); };
  EXPECT_TRUE(ok(Steps(v1::FLOW_SDE, 0.7, 0, 10)).ok());
  EXPECT_TRUE(ok(Steps(v1::FLOW_SDE, 3, 9, 1)).ok());
  EXPECT_TRUE(ok(Steps(v1::CPS, 0.8, 0, 9)).ok());
  EXPECT_TRUE(ok(Steps(v1::CPS, 1, 8, 1)).ok());
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN(), kInfinity = std::numeric_limits<double>::infinity();
  constexpr uint32_t kHuge = std::numeric_limits<uint32_t>::max();
  for (const auto& [steps, says] :
       {std::pair{Steps(v1::SDE_KIND_UNSPECIFIED, 0.7, 0, 3), "number 0"},
        {Steps(static_cast<v1::SdeKind>(77), 0.7, 0, 3), "number 77"},
        {Steps(v1::FLOW_SDE, 0, 0, 3), "noise level 0"},
        {Steps(v1::FLOW_SDE, -0.7, 0, 3), "noise level -0.7"},
        {Steps(v1::FLOW_SDE, kNan, 0, 3), "noise level nan"},
        {Steps(v1::FLOW_SDE, kInfinity, 0, 3), "noise level inf"},
        {Steps(v1::CPS, 1.01, 0, 3), "for cps at most 1"},
        {Steps(v1::FLOW_SDE, 0.7, 0, 0), "expected at least 1"},
        {Steps(v1::FLOW_SDE, 0.7, 8, 3), "3 stochastic steps from step 8"},
        {Steps(v1::FLOW_SDE, 0.7, 10, 1), "the first 10 of 10"},
        {Steps(v1::FLOW_SDE, 0.7, kHuge, kHuge), "stochastic steps"},
        {Steps(v1::CPS, 0.8, 9, 1), "the last one draws no noise"}}) {
    const absl::Status status = ok(steps);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << says;
    EXPECT_TRUE(absl::StrContains(status.message(), says)) << status;
  }
}

TEST(SdeStepTest, EveryKindOfTheConfigurationIsKnown) {
  const auto* kinds = v1::SdeKind_descriptor();
  for (int i = 0; i < kinds->value_count(); ++i) {
    const auto kind = static_cast<v1::SdeKind>(kinds->value(i)->number());
    if (kind == v1::SDE_KIND_UNSPECIFIED) continue;
    EXPECT_TRUE(CheckStochasticSteps(Steps(kind, 0.5, 0, 1), 2).ok()) << v1::SdeKind_Name(kind);
    MakeSdeStep(kind, 0.5, at::full({1}, 0.6f), at::full({1}, 0.5f));  // does not throw
  }
  EXPECT_THROW(MakeSdeStep(v1::SDE_KIND_UNSPECIFIED, 0.5, at::full({1}, 0.6f), at::full({1}, 0.5f)), c10::Error);
}

}  // namespace
}  // namespace flowawr
