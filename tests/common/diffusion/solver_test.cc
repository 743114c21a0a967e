#include "common/diffusion/solver.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>

#include "common/diffusion/noise.h"
#include "common/diffusion/sigmas.h"
#include "common/tensor/safetensors.h"
#include "tests/testing/draw_latents.h"
#include "tests/testing/parity.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

constexpr char kSizes[] = "32 schedules: 1 to 40 steps, shifts 0.5 to 5.5, random velocities";

struct Schedule {
  std::string name;
  int steps;
  double shift;
  int train_steps;
};

std::vector<Schedule> Schedules() {
  std::vector<Schedule> schedules;
  for (const int steps : {1, 2, 3, 8, 10, 14, 15, 40}) {
    for (const double shift : {0.5, 1.0, 3.0, 5.5}) {
      const int train_steps = steps == 8 ? 250 : 1000;
      schedules.push_back({absl::StrCat("case", schedules.size()), steps, shift, train_steps});
    }
  }
  return schedules;
}

TEST(SolverTest, SigmasAndEveryStepAgreeWithDiffusers) {
  const TempFolder folder;
  std::map<std::string, at::Tensor> cases;
  for (const Schedule& schedule : Schedules()) {
    cases[schedule.name + ".noise"] = InitialNoise(1, 0, 0, {1, 4, 3, 5});
    cases[schedule.name + ".velocities"] = InitialNoise(2, 0, 0, {schedule.steps, 4, 3, 5});
    cases[schedule.name + ".schedule"] =
        torch::tensor({double(schedule.steps), schedule.shift, double(schedule.train_steps)}, at::kDouble);
  }
  ASSERT_TRUE(WriteSafetensors(folder / "cases", cases).ok());
  ASSERT_TRUE(RunPython("tests/common/diffusion/diffusers_solvers.py", {folder / "cases", folder / "out"}));
  const auto expected = SafetensorsFile::Open(folder / "out");
  ASSERT_TRUE(expected.ok()) << expected.status();

  for (const Schedule& schedule : Schedules()) {
    SCOPED_TRACE(absl::StrCat(schedule.steps, " steps, shift ", schedule.shift));
    const std::vector<float> sigmas = FlowMatchSigmas(schedule.steps, schedule.shift, schedule.train_steps);
    const at::Tensor theirs = expected->tensors().at(schedule.name + ".sigmas");
    ASSERT_EQ(static_cast<int64_t>(sigmas.size()), theirs.numel());
    for (size_t i = 0; i < sigmas.size(); ++i) EXPECT_FLOAT_EQ(sigmas[i], theirs[i].item<float>()) << i;
    ExpectAtMost({"Sigmas", kSizes, "diffusers FlowMatchEulerDiscreteScheduler"}, schedule.name, "largest error",
                 (torch::tensor(sigmas) - theirs).abs().max().item<double>(), 1e-7);

    const at::Tensor velocities = cases[schedule.name + ".velocities"];
    for (const auto& [kind, key, check] :
         {std::tuple{v1::EULER, ".euler",
                     ParityCheck{"Euler, step by step", kSizes, "diffusers FlowMatchEulerDiscreteScheduler"}},
          std::tuple{v1::DPM_SOLVER_PP_2M, ".dpm",
                     ParityCheck{"DPM-Solver++(2M), step by step", kSizes,
                                 "diffusers DPMSolverMultistepScheduler on the same sigmas"}}}) {
      const auto solver = MakeSolver(kind, sigmas).value();
      at::Tensor latents = cases[schedule.name + ".noise"];
      const at::Tensor states = expected->tensors().at(schedule.name + key);
      double largest = 0;
      for (int i = 0; i < schedule.steps; ++i) {
        latents = solver->Step(i, velocities[i], latents);
        largest = std::max(largest, (latents[0] - states[i]).abs().max().item<double>());
        EXPECT_LT(largest, 2e-5) << key << " step " << i;
      }
      ExpectAtMost(check, schedule.name, "largest error of any step", largest, 2e-5);
    }
  }
}

TEST(SolverTest, FindsTheOnlyPictureOfAPointExactly) {
  const at::Tensor picture = InitialNoise(3, 0, 0, {2, 3});
  const auto velocity = [&](const at::Tensor& latents, float sigma) { return (latents - picture) / sigma; };
  for (const v1::Solver kind : {v1::EULER, v1::DPM_SOLVER_PP_2M}) {
    const at::Tensor found = DrawLatents(velocity, kind, FlowMatchSigmas(7, 3), InitialNoise(4, 0, 0, {2, 3}));
    EXPECT_LT((found - picture).abs().max().item<double>(), 1e-5);
  }
}

// Data N(0, spread^2): the exact velocity is linear and the exact flow keeps x / deviation(sigma). The levels are even
// in log((1 - sigma) / sigma), where the order of DPM-Solver++ shows.
double ErrorOnAGaussian(v1::Solver kind, int steps) {
  constexpr double kSpread = 1, kFirst = -3, kLast = 3;
  const auto variance = [](double sigma) { return (1 - sigma) * (1 - sigma) * kSpread * kSpread + sigma * sigma; };
  const auto velocity = [&](const at::Tensor& latents, float sigma) {
    return latents * ((sigma - (1.0 - sigma) * kSpread * kSpread) / variance(sigma));
  };
  std::vector<float> sigmas;
  for (int i = 0; i <= steps; ++i)
    sigmas.push_back(static_cast<float>(1 / (1 + std::exp(kFirst + (kLast - kFirst) * i / steps))));
  const at::Tensor start = InitialNoise(5, 0, 0, {64});
  const at::Tensor exact = start * std::sqrt(variance(sigmas.back()) / variance(sigmas.front()));
  return ((DrawLatents(velocity, kind, sigmas, start) - exact).norm() / exact.norm()).item<double>();
}

TEST(SolverTest, SecondOrderErrorsFallFasterThanFirstOrderOnes) {
  const double euler = ErrorOnAGaussian(v1::EULER, 40), euler_halved = ErrorOnAGaussian(v1::EULER, 80);
  const double dpm = ErrorOnAGaussian(v1::DPM_SOLVER_PP_2M, 40);
  const double dpm_halved = ErrorOnAGaussian(v1::DPM_SOLVER_PP_2M, 80);
  EXPECT_NEAR(euler / euler_halved, 2, 0.5);
  EXPECT_NEAR(dpm / dpm_halved, 4, 0.8);
  EXPECT_LT(dpm, euler / 2);
}

TEST(SolverTest, ComputesInSinglePrecisionWhateverTheModelReturns) {
  const at::Tensor latents = InitialNoise(6, 0, 0, {5}), velocity = InitialNoise(7, 0, 0, {5}).to(at::kBFloat16);
  for (const v1::Solver kind : {v1::EULER, v1::DPM_SOLVER_PP_2M}) {
    const at::Tensor next = MakeSolver(kind, {0.75f, 0.5f, 0}).value()->Step(0, velocity, latents);
    EXPECT_EQ(next.scalar_type(), at::kFloat);
    EXPECT_TRUE(at::allclose(next, latents - velocity.to(at::kFloat) * 0.25, 1e-6, 1e-6));  // one step of either
  }
}

TEST(SolverTest, ForgetsWhatCameBeforeWhenItIsTold) {
  const std::vector<float> sigmas = FlowMatchSigmas(6, 3);
  const std::vector<float> rest(sigmas.begin() + 2, sigmas.end());
  for (const v1::Solver kind : {v1::EULER, v1::DPM_SOLVER_PP_2M}) {
    const auto solver = MakeSolver(kind, sigmas).value(), anew = MakeSolver(kind, rest).value();
    at::Tensor latents = InitialNoise(8, 0, 0, {5});
    for (int i = 0; i < 2; ++i) latents = solver->Step(i, InitialNoise(9, i, 0, {5}), latents);
    solver->Forget();
    at::Tensor other = latents;
    for (int i = 2; i < 6; ++i) {
      const at::Tensor velocity = InitialNoise(9, i, 0, {5});
      latents = solver->Step(i, velocity, latents);
      other = anew->Step(i - 2, velocity, other);
      EXPECT_TRUE(at::equal(latents, other)) << SolverName(kind) << " step " << i;
    }
  }
}

TEST(SolverTest, RefusesAnUnnamedSolverAndNamesThoseThatThereAre) {
  const auto none = MakeSolver(v1::SOLVER_UNSPECIFIED, {1, 0});
  EXPECT_TRUE(absl::IsInvalidArgument(none.status())) << none.status();
  for (const std::string& name : SolverNames())
    EXPECT_NE(none.status().message().find(name), std::string::npos) << none.status();
  EXPECT_THROW(MakeSolver(v1::EULER, {0}).IgnoreError(), c10::Error);
}

// A solver that configurations can name is one that there is.
TEST(SolverTest, EverySolverOfTheConfigurationIsKnownByItsName) {
  const auto* kinds = v1::Solver_descriptor();
  for (int i = 0; i < kinds->value_count(); ++i) {
    const auto kind = static_cast<v1::Solver>(kinds->value(i)->number());
    if (kind == v1::SOLVER_UNSPECIFIED) continue;
    EXPECT_TRUE(MakeSolver(kind, {1, 0}).ok()) << SolverName(kind);
    EXPECT_EQ(SolverFromName(SolverName(kind)), kind);
  }
  EXPECT_EQ(SolverNames(), (std::vector<std::string>{"euler", "dpm_solver_pp_2m"}));
  EXPECT_EQ(SolverFromName(""), std::nullopt);
  EXPECT_EQ(SolverFromName("solver_unspecified"), std::nullopt);
}

}  // namespace
}  // namespace flowawr
