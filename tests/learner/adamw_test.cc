#include "learner/adamw.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include "common/diffusion/noise.h"
#include "common/tensor/safetensors.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

double RelativeError(const at::Tensor& actual, const at::Tensor& expected) {
  return (actual - expected).norm().item<double>() / expected.norm().item<double>();
}

TEST(AdamWTest, FollowsTorchOverManyClippedSteps) {
  constexpr int kSteps = 20;
  constexpr int64_t kSize = 50;
  const TempFolder folder;
  v1::OptimizerConfig config;
  config.set_learning_rate(0.01);
  config.set_beta1(0.8);
  config.set_beta2(0.95);
  config.set_epsilon(1e-6);
  config.set_weight_decay(0.3);
  at::Tensor parameters = InitialNoise(1, 0, 0, {kSize});
  // The first gradients are within the norm 7, the last far above.
  const at::Tensor gradients = InitialNoise(2, 0, 0, {kSteps, kSize}) * at::linspace(0.1, 4, kSteps).view({-1, 1});
  ASSERT_TRUE(WriteSafetensors(folder / "adamw", {{"parameters", parameters.clone()}, {"gradients", gradients}},
                               {{"config", R"({"lr": 0.01, "beta1": 0.8, "beta2": 0.95, "eps": 1e-6,
                                               "weight_decay": 0.3, "max_norm": 7})"}})
                  .ok());
  ASSERT_TRUE(RunPython("tests/learner/algorithm_reference.py", {"adamw", folder / "adamw"}));
  const auto file = SafetensorsFile::Open(folder / "adamw.out");
  ASSERT_TRUE(file.ok()) << file.status();
  const auto& expected = file->tensors();

  AdamWState state = AdamWState::Zero(kSize);
  int clipped = 0;
  for (int step = 0; step < kSteps; ++step) {
    at::Tensor gradient = gradients[step].clone();
    const double norm = ClipGradient(gradient, 7);
    clipped += norm > 7 ? 1 : 0;
    AdamWStep(config, config.learning_rate(), gradient, parameters, state);
    EXPECT_NEAR(norm, expected.at("norms")[step].item<double>(), 1e-5 * norm) << step;
    EXPECT_LT(RelativeError(parameters, expected.at("history")[step]), 1e-6) << step;
  }
  EXPECT_GT(clipped, 0);
  EXPECT_LT(clipped, kSteps);
  EXPECT_LT(RelativeError(state.first_moment, expected.at("first_moment")), 1e-6);
  EXPECT_LT(RelativeError(state.second_moment, expected.at("second_moment")), 1e-6);
  EXPECT_EQ(state.steps, kSteps);
}

TEST(AdamWTest, TheFirstStepMovesEveryParameterByTheLearningRateAgainstItsGradient) {
  v1::OptimizerConfig config;
  config.set_learning_rate(0.5);
  config.set_beta1(0.9);
  config.set_beta2(0.999);
  config.set_epsilon(1e-12);
  at::Tensor parameters = at::ones({2});
  AdamWState state = AdamWState::Zero(2);
  AdamWStep(config, config.learning_rate(), at::tensor({100.0f, -0.01f}), parameters, state);
  EXPECT_NEAR(parameters[0].item<double>(), 0.5, 1e-5);
  EXPECT_NEAR(parameters[1].item<double>(), 1.5, 1e-5);
}

TEST(ClipGradientTest, ScalesDownToTheNormAndNeverUp) {
  at::Tensor gradient = at::tensor({3.0f, 4.0f});
  EXPECT_DOUBLE_EQ(ClipGradient(gradient, 10), 5);
  EXPECT_TRUE(at::equal(gradient, at::tensor({3.0f, 4.0f})));
  EXPECT_DOUBLE_EQ(ClipGradient(gradient, 1), 5);
  EXPECT_NEAR(gradient.norm().item<double>(), 1, 1e-5);
}

TEST(ClipGradientTest, ZeroMeansNoClipping) {
  at::Tensor gradient = at::tensor({3e6f, 4e6f});
  EXPECT_DOUBLE_EQ(ClipGradient(gradient, 0), 5e6);
  EXPECT_TRUE(at::equal(gradient, at::tensor({3e6f, 4e6f})));
}

}  // namespace
}  // namespace flowawr
