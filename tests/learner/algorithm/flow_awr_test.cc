#include "learner/algorithm/flow_awr.h"

#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <cmath>
#include <map>
#include <string>

#include "common/diffusion/noise.h"
#include "tests/learner/algorithm/methods.h"

namespace flowawr {
namespace {

v1::FlowAwrConfig Method(v1::EnergyKind energy) {
  v1::AlgorithmConfig algorithm;
  ChooseFlowAwr(algorithm, energy).set_temperature(1);
  return algorithm.flow_awr();
}

TEST(ComputeEnergiesTest, SoftEnergyOfTwoSamplesIsTheHyperbolicTangentOfHalfTheirDistance) {
  const at::Tensor advantages = at::tensor({0.3, -0.5}, at::kDouble).view({1, 2});
  const at::Tensor energies = ComputeEnergies(advantages, Method(v1::SOFT));
  EXPECT_NEAR(energies[0][0].item<double>(), std::tanh(0.4), 1e-12);
  EXPECT_NEAR(energies[0][1].item<double>(), -std::tanh(0.4), 1e-12);
}

TEST(ComputeEnergiesTest, HardEnergyOfTwoSamplesIsNearPlusAndMinusOne) {
  const at::Tensor advantages = at::tensor({1.0, -1.0}, at::kDouble).view({1, 2});
  const at::Tensor energies = ComputeEnergies(advantages, Method(v1::HARD));
  const double q = std::tanh(1) / 2;
  EXPECT_NEAR(energies[0][0].item<double>(), q / (q + 1e-4), 1e-12);
}

TEST(ComputeEnergiesTest, OneGoodSampleAmongManyIsClipped) {
  at::Tensor advantages = at::full({1, 24}, -0.2, at::kDouble);
  advantages[0][7] = 5;
  const at::Tensor energies = ComputeEnergies(advantages, Method(v1::HARD));
  EXPECT_EQ(energies[0][7].item<double>(), 3);
  EXPECT_LT(energies[0][0].item<double>(), 0);
}

class FlowAwrLossTest : public testing::Test {
 protected:
  FlowAwrLossTest() {
    const auto noise = [](uint64_t seed) { return InitialNoise(seed, 0, 0, {3, 2, 4, 4}).to(at::kDouble); };
    rows_.x = noise(1);
    rows_.x0 = noise(2);
    rows_.sigma = at::tensor({1.0, 0.6, 0.1}, at::kDouble);
    rows_.signal = at::tensor({3.0, 0.0, -1.4}, at::kDouble);
    rows_.step = {0, 1, 2};
    velocities_ = {.theta = noise(3), .old = noise(4), .ref = noise(5)};
  }

  RowLoss Loss(const at::Tensor& v_theta) const {
    Velocities velocities = velocities_;
    velocities.theta = v_theta;
    const FlowAwr method(MethodConfig([](v1::AlgorithmConfig& a) { ChooseFlowAwr(a); }), {1, 0.8f, 0.6f, 0.1f, 0});
    return method.Loss(rows_, velocities);
  }

  Rows rows_;  // in double precision, as the velocities
  Velocities velocities_;
};

TEST_F(FlowAwrLossTest, GradientIsThatOfTheLossWithItsScaleHeldStill) {
  constexpr double kStep = 1e-6;
  const auto scale = [this](const at::Tensor& v_theta) {
    return (rows_.x - rows_.sigma.view({-1, 1, 1, 1}) * v_theta - rows_.x0).abs().flatten(1).mean(1);
  };
  const at::Tensor at_v = velocities_.theta.clone();
  const auto held_still = [&](const at::Tensor& v_theta) {
    const RowLoss loss = Loss(v_theta);
    std::map<std::string, at::Tensor> figures(loss.figures.begin(), loss.figures.end());
    return (figures["policy_loss"] * scale(v_theta) / scale(at_v) + 0.3 * figures["kl"]).sum().item<double>();
  };
  const at::Tensor leaf = at_v.clone().requires_grad_();
  const at::Tensor gradient = torch::autograd::grad({Loss(leaf).loss.sum()}, {leaf})[0].flatten();
  for (int64_t i = 0; i < at_v.numel(); i += 5) {
    at::Tensor step = at::zeros_like(at_v);
    step.view(-1)[i] = kStep;
    const double slope = (held_still(at_v + step) - held_still(at_v - step)) / (2 * kStep);
    EXPECT_NEAR(gradient[i].item<double>(), slope, 1e-7) << i;
  }
}

TEST_F(FlowAwrLossTest, AtTheOldPolicyTheTargetIsPulledTowardsGoodSamplesOnly) {
  velocities_.old = velocities_.theta;
  velocities_.ref = at::Tensor();
  const RowLoss loss = Loss(velocities_.theta);
  EXPECT_GT(loss.loss[0].item<double>(), 0);
  EXPECT_EQ(loss.loss[1].item<double>(), 0);  // energy 0
}

}  // namespace
}  // namespace flowawr
