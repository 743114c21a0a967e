#include "learner/flowawr.h"

#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/diffusion/noise.h"
#include "common/tensor/safetensors.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

v1::AlgorithmConfig Algorithm(v1::EnergyKind energy, v1::StdScope scope = v1::BATCH) {
  v1::AlgorithmConfig algorithm;
  algorithm.set_energy(energy);
  algorithm.set_std_scope(scope);
  algorithm.set_temperature(0.7);
  algorithm.set_advantage_clip(1.5);  // cuts some of the test's advantages
  algorithm.set_energy_clip(3);
  return algorithm;
}

double LargestError(const at::Tensor& actual, const at::Tensor& expected) {
  return (actual.to(at::kDouble) - expected).abs().max().item<double>();
}

TEST(CombineRewardsTest, AgreesWithTheFormulasWrittenInPython) {
  const TempFolder folder;
  at::Tensor rewards = InitialNoise(5, 0, 0, {2, 5, 6}).to(at::kDouble);
  rewards[0][1].fill_(0.25);  // nothing to learn from this term
  rewards[1][1].fill_(0.5);
  rewards[0][2][3] = NAN;
  rewards[1][2][4] = NAN;
  rewards[1][3].fill_(NAN);  // a scorer that was away
  rewards[0][4] = (rewards[0][4] > 0).to(at::kDouble);
  const std::vector<double> weights = {0.8, -0.3};

  std::map<std::string, v1::AlgorithmConfig> algorithms;
  std::map<std::string, v1::Combination> combinations;
  std::vector<std::string> cases;
  for (const auto energy : {v1::SOFT, v1::HARD}) {
    for (const auto scope : {v1::BATCH, v1::GROUP}) {
      for (const auto combination : {v1::AVERAGE, v1::DECOUPLED}) {
        const std::string name = absl::StrCat("e", energy, "s", scope, "c", combination);
        algorithms[name] = Algorithm(energy, scope);
        combinations[name] = combination;
        cases.push_back(absl::StrCat("\"", name, "\": {\"hard\": ", energy == v1::HARD ? "true" : "false",
                                     ", \"group_std\": ", scope == v1::GROUP ? "true" : "false",
                                     ", \"decoupled\": ", combination == v1::DECOUPLED ? "true" : "false",
                                     ", \"temperature\": 0.7, \"advantage_clip\": 1.5, \"energy_clip\": 3}"));
      }
    }
  }
  ASSERT_TRUE(WriteSafetensors(folder / "energies",
                               {{"rewards", rewards}, {"weights", at::tensor(weights, at::kDouble)}},
                               {{"config", absl::StrCat("{", absl::StrJoin(cases, ", "), "}")}})
                  .ok());
  ASSERT_TRUE(RunPython("tests/learner/algorithm_reference.py", {"energies", folder / "energies"}));
  const auto expected = SafetensorsFile::Open(folder / "energies.out");
  ASSERT_TRUE(expected.ok()) << expected.status();
  ASSERT_EQ(expected->tensors().size(), 8u);
  for (const auto& [name, energies] : expected->tensors()) {
    const BatchEnergies batch = CombineRewards(rewards, weights, combinations.at(name), algorithms.at(name));
    EXPECT_LT(LargestError(batch.energies, energies), 1e-5) << name;
    EXPECT_GT(batch.energies.abs().max().item<double>(), 0.1) << name;
    EXPECT_TRUE(batch.is_all_equal[1]) << name;
    EXPECT_FALSE(batch.is_all_equal[0]) << name;
    EXPECT_EQ(batch.energies[2][3].item<float>() == 0, combinations.at(name) == v1::AVERAGE) << name;
  }
}

TEST(CombineRewardsTest, ATermOfWeightZeroChangesNoBitWhateverItsRewardsAre) {
  at::Tensor rewards = InitialNoise(5, 0, 0, {3, 4, 6}).to(at::kDouble);
  rewards[0][1][2] = NAN;
  rewards[1] = at::tensor({1e6, -1e6, NAN, 0.0, 1e-9, 3.0}, at::kDouble).expand({4, 6});  // the shadow's
  rewards[1][3].fill_(NAN);
  const at::Tensor without = at::stack({rewards[0], rewards[2]});
  for (const auto energy : {v1::SOFT, v1::HARD}) {
    for (const auto combination : {v1::AVERAGE, v1::DECOUPLED}) {
      const BatchEnergies with_shadow = CombineRewards(rewards, {0.8, 0, 0.3}, combination, Algorithm(energy));
      const BatchEnergies expected = CombineRewards(without, {0.8, 0.3}, combination, Algorithm(energy));
      EXPECT_TRUE(at::equal(with_shadow.energies, expected.energies));
      EXPECT_TRUE(at::equal(with_shadow.rewards.nan_to_num(7), expected.rewards.nan_to_num(7)));
      EXPECT_EQ(with_shadow.is_all_equal, expected.is_all_equal);
    }
  }
}

TEST(ComputeEnergiesTest, SoftEnergyOfTwoSamplesIsTheHyperbolicTangentOfHalfTheirDistance) {
  const at::Tensor advantages = at::tensor({0.3, -0.5}, at::kDouble).view({1, 2});
  const at::Tensor energies = ComputeEnergies(advantages, Algorithm(v1::SOFT));
  EXPECT_NEAR(energies[0][0].item<double>(), std::tanh(0.4), 1e-12);
  EXPECT_NEAR(energies[0][1].item<double>(), -std::tanh(0.4), 1e-12);
}

TEST(ComputeEnergiesTest, HardEnergyOfTwoSamplesIsNearPlusAndMinusOne) {
  const at::Tensor advantages = at::tensor({1.0, -1.0}, at::kDouble).view({1, 2});
  const at::Tensor energies = ComputeEnergies(advantages, Algorithm(v1::HARD));
  const double q = std::tanh(1) / 2;
  EXPECT_NEAR(energies[0][0].item<double>(), q / (q + 1e-4), 1e-12);
}

TEST(ComputeEnergiesTest, OneGoodSampleAmongManyIsClipped) {
  at::Tensor advantages = at::full({1, 24}, -0.2, at::kDouble);
  advantages[0][7] = 5;
  const at::Tensor energies = ComputeEnergies(advantages, Algorithm(v1::HARD));
  EXPECT_EQ(energies[0][7].item<double>(), 3);
  EXPECT_LT(energies[0][0].item<double>(), 0);
}

class FlowAwrLossTest : public testing::Test {
 protected:
  explicit FlowAwrLossTest() {
    const auto noise = [](uint64_t seed, at::IntArrayRef shape) {
      return InitialNoise(seed, 0, 0, shape).to(at::kDouble);
    };
    input_.x_t = noise(1, {3, 2, 4, 4});
    input_.x0 = noise(2, {3, 2, 4, 4});
    input_.sigma = at::tensor({1.0, 0.6, 0.1}, at::kDouble);
    input_.energy = at::tensor({3.0, 0.0, -1.4}, at::kDouble);
    input_.v_theta = noise(3, {3, 2, 4, 4});
    input_.v_old = noise(4, {3, 2, 4, 4});
    input_.v_ref = noise(5, {3, 2, 4, 4});
  }
  LossInput input_;  // in double precision
};

TEST_F(FlowAwrLossTest, AgreesWithTheFormulasWrittenInPython) {
  const TempFolder folder;
  ASSERT_TRUE(WriteSafetensors(folder / "loss", {{"x_t", input_.x_t},
                                                 {"x0", input_.x0},
                                                 {"sigma", input_.sigma},
                                                 {"energy", input_.energy},
                                                 {"v_theta", input_.v_theta},
                                                 {"v_old", input_.v_old},
                                                 {"v_ref", input_.v_ref},
                                                 {"kl_beta", at::scalar_tensor(0.3, at::kDouble)}})
                  .ok());
  ASSERT_TRUE(RunPython("tests/learner/algorithm_reference.py", {"loss", folder / "loss"}));
  const auto file = SafetensorsFile::Open(folder / "loss.out");
  ASSERT_TRUE(file.ok()) << file.status();

  input_.v_theta.requires_grad_();
  const LossOutput output = FlowAwrLoss(input_, 0.3);
  const at::Tensor gradient = torch::autograd::grad({output.loss.sum()}, {input_.v_theta})[0];
  EXPECT_LT(LargestError(output.loss.detach(), file->tensors().at("loss")), 1e-12);
  EXPECT_LT(LargestError(output.policy, file->tensors().at("policy")), 1e-12);
  EXPECT_LT(LargestError(output.kl, file->tensors().at("kl")), 1e-12);
  EXPECT_LT(LargestError(gradient, file->tensors().at("gradient")), 1e-12);
}

TEST_F(FlowAwrLossTest, GradientIsThatOfTheLossWithItsScaleHeldStill) {
  constexpr double kKlBeta = 0.3, kStep = 1e-6;
  const auto scale = [this](const at::Tensor& v_theta) {
    return (input_.x_t - input_.sigma.view({-1, 1, 1, 1}) * v_theta - input_.x0).abs().flatten(1).mean(1);
  };
  const at::Tensor at_v = input_.v_theta.clone();
  const auto held_still = [&](const at::Tensor& v_theta) {
    LossInput moved = input_;
    moved.v_theta = v_theta;
    const LossOutput output = FlowAwrLoss(moved, kKlBeta);
    return (output.policy * scale(v_theta) / scale(at_v) + kKlBeta * output.kl).sum().item<double>();
  };
  const at::Tensor leaf = at_v.clone().requires_grad_();
  LossInput input = input_;
  input.v_theta = leaf;
  const at::Tensor gradient = torch::autograd::grad({FlowAwrLoss(input, kKlBeta).loss.sum()}, {leaf})[0].flatten();
  for (int64_t i = 0; i < at_v.numel(); i += 5) {
    at::Tensor step = at::zeros_like(at_v);
    step.view(-1)[i] = kStep;
    const double slope = (held_still(at_v + step) - held_still(at_v - step)) / (2 * kStep);
    EXPECT_NEAR(gradient[i].item<double>(), slope, 1e-7) << i;
  }
}

TEST_F(FlowAwrLossTest, AtTheOldPolicyTheTargetIsPulledTowardsGoodSamplesOnly) {
  input_.v_old = input_.v_theta;
  input_.v_ref = at::Tensor();
  const LossOutput output = FlowAwrLoss(input_, 0);
  EXPECT_GT(output.loss[0].item<double>(), 0);
  EXPECT_EQ(output.loss[1].item<double>(), 0);  // energy 0
  EXPECT_TRUE(at::equal(output.kl, at::zeros({3}, at::kDouble)));
}

}  // namespace
}  // namespace flowawr
