#include "common/diffusion/sampler.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "common/diffusion/noise.h"
#include "common/diffusion/sde_step.h"
#include "common/diffusion/sigmas.h"
#include "common/diffusion/solver.h"
#include "tests/testing/draw_latents.h"

namespace flowawr {
namespace {

constexpr v1::Solver kSolvers[] = {v1::EULER, v1::DPM_SOLVER_PP_2M};
constexpr v1::SdeKind kKinds[] = {v1::FLOW_SDE, v1::CPS};

v1::StochasticSteps Window(v1::SdeKind kind, double level, uint32_t first, uint32_t count) {
  v1::StochasticSteps steps;
  steps.set_kind(kind);
  steps.set_noise_level(level);
  steps.set_first(first);
  steps.set_count(count);
  return steps;
}

// Anything that depends on latents and sigma, and rounds as a model does.
at::Tensor Velocity(const at::Tensor& latents, float sigma) {
  return latents.sin() * (1 + sigma) - latents.roll(1, -1);
}

at::Tensor Start(int64_t rows = 2) { return InitialNoise(1, 0, 0, {rows, 3, 4, 5}); }
at::Tensor StepNoiseOf(int step, int64_t rows = 2) { return InitialNoise(2, step, 0, {rows, 3, 4, 5}); }
bool Always(int) { return true; }

absl::StatusOr<Sampled> Follow(const SamplerPlan& plan) {
  return Sample(plan, Start(), Velocity, [](int step) { return StepNoiseOf(step); }, Always);
}

// Today's loop, written out.
TEST(SamplerTest, FollowsTheSolverBitForBitWithoutStochasticSteps) {
  const std::vector<float> sigmas = FlowMatchSigmas(7, 3);
  for (const v1::Solver kind : kSolvers) {
    const auto solver = MakeSolver(kind, sigmas).value();
    at::Tensor expected = Start();
    for (int i = 0; i < 7; ++i) expected = solver->Step(i, Velocity(expected, sigmas[i]), expected);
    const auto sampled = Sample({kind, sigmas, {}}, Start(), Velocity,
                                [](int step) -> at::Tensor {
                                  ADD_FAILURE() << "noise was asked for at step " << step;
                                  return {};
                                },
                                Always);
    ASSERT_TRUE(sampled.ok()) << sampled.status();
    EXPECT_TRUE(at::equal(sampled->latents, expected));
    EXPECT_FALSE(sampled->trajectory.has_value());
  }
}

TEST(SamplerTest, KeepsWhatItsStochasticStepsDid) {
  const std::vector<float> sigmas = FlowMatchSigmas(8, 3);
  for (const v1::Solver solver : kSolvers) {
    for (const v1::SdeKind kind : kKinds) {
      for (const auto& [first, count] : {std::pair{0, 7}, {0, 1}, {2, 3}, {6, 1}}) {
        SCOPED_TRACE(absl::StrCat(SolverName(solver), " ", v1::SdeKind_Name(kind), " ", first, "+", count));
        const auto sampled = Follow({solver, sigmas, Window(kind, 0.6, first, count)});
        ASSERT_TRUE(sampled.ok()) << sampled.status();
        ASSERT_TRUE(sampled->trajectory.has_value());
        const auto& [states, log_probs] = *sampled->trajectory;
        ASSERT_EQ(states.sizes(), (at::IntArrayRef{2, count + 1, 3, 4, 5}));
        ASSERT_EQ(log_probs.sizes(), (at::IntArrayRef{2, count}));
        for (int i = 0; i < count; ++i) {
          const int at = first + i;
          const at::Tensor x = states.select(1, i), next = states.select(1, i + 1);
          const SdeStep step = MakeSdeStep(kind, 0.6, at::full({2}, sigmas[at]), at::full({2}, sigmas[at + 1]));
          const at::Tensor mean = StepMean(step, x, Velocity(x, sigmas[at]));
          EXPECT_TRUE(at::equal(next, mean + step.std.view({2, 1, 1, 1}) * StepNoiseOf(at)));
          // The learner's own computation, of the same velocity: the same bits.
          EXPECT_TRUE(at::equal(log_probs.select(1, i), StepLogProb(step, next, mean)));
        }
        // Before and after it the ODE, anew where the window ends.
        const std::vector<float> before(sigmas.begin(), sigmas.begin() + first + 1);
        const std::vector<float> after(sigmas.begin() + first + count, sigmas.end());
        EXPECT_TRUE(at::equal(sampled->latents, DrawLatents(Velocity, solver, after, states.select(1, count))));
        if (first > 0 && solver == v1::EULER) {
          EXPECT_TRUE(at::equal(states.select(1, 0), DrawLatents(Velocity, solver, before, Start())));
        }
        if (first == 0) {
          EXPECT_TRUE(at::equal(states.select(1, 0), Start()));
        }
      }
    }
  }
}

TEST(SamplerTest, AWindowToTheVeryEndLeavesItsLastStateAsTheResult) {
  const auto sampled = Follow({v1::EULER, FlowMatchSigmas(4, 3), Window(v1::FLOW_SDE, 0.7, 2, 2)});
  ASSERT_TRUE(sampled.ok()) << sampled.status();
  EXPECT_TRUE(at::equal(sampled->latents, sampled->trajectory->states.select(1, 2)));
}

TEST(SamplerTest, ARowDoesNotDependOnTheOthers) {
  const SamplerPlan plan{v1::EULER, FlowMatchSigmas(6, 3), Window(v1::CPS, 0.8, 1, 3)};
  const auto both = Follow(plan);
  for (const int64_t row : {0, 1}) {
    const auto alone = Sample(plan, Start().narrow(0, row, 1), Velocity,
                              [&](int step) { return StepNoiseOf(step).narrow(0, row, 1); }, Always);
    EXPECT_TRUE(at::equal(alone->latents[0], both->latents[row]));
    EXPECT_TRUE(at::equal(alone->trajectory->states[0], both->trajectory->states[row]));
    EXPECT_TRUE(at::equal(alone->trajectory->log_probs[0], both->trajectory->log_probs[row]));
  }
}

TEST(SamplerTest, ComputesInSinglePrecisionWhateverTheModelReturns) {
  const auto low = [](const at::Tensor& latents, float sigma) { return Velocity(latents, sigma).to(at::kBFloat16); };
  const auto sampled = Sample({v1::EULER, FlowMatchSigmas(4, 3), Window(v1::FLOW_SDE, 0.7, 0, 3)}, Start(), low,
                              [](int step) { return StepNoiseOf(step); }, Always);
  ASSERT_TRUE(sampled.ok()) << sampled.status();
  for (const at::Tensor& tensor : {sampled->latents, sampled->trajectory->states, sampled->trajectory->log_probs})
    EXPECT_EQ(tensor.scalar_type(), at::kFloat);
}

TEST(SamplerTest, StopsBeforeTheStepThatNobodyWants) {
  int evaluations = 0;
  std::vector<int> asked;
  const auto stopped = Sample({v1::EULER, FlowMatchSigmas(5, 3), {}}, Start(),
                              [&](const at::Tensor& latents, float sigma) {
                                ++evaluations;
                                return Velocity(latents, sigma);
                              },
                              [](int step) { return StepNoiseOf(step); },
                              [&](int step) {
                                asked.push_back(step);
                                return step < 2;
                              });
  EXPECT_TRUE(absl::IsCancelled(stopped.status())) << stopped.status();
  EXPECT_EQ(asked, (std::vector<int>{0, 1, 2}));
  EXPECT_EQ(evaluations, 2);
}

TEST(SamplerTest, RefusesPlansThatNoSamplerCanFollow) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  for (const SamplerPlan& plan :
       {SamplerPlan{v1::EULER, {}, {}}, {v1::EULER, {1}, {}}, {v1::EULER, {1, 0.5f, 0.5f, 0}, {}},
        {v1::EULER, {1, 0.5f, 0.6f, 0}, {}}, {v1::EULER, {1.5f, 0.5f, 0}, {}}, {v1::EULER, {1, 0.5f, -0.1f}, {}},
        {v1::EULER, {1, kNan, 0}, {}}, {v1::EULER, {kNan, 0}, {}}, {v1::SOLVER_UNSPECIFIED, {1, 0}, {}},
        {v1::EULER, {1, 0.5f, 0}, Window(v1::FLOW_SDE, 0.7, 1, 2)},
        {v1::EULER, {1, 0.5f, 0}, Window(v1::CPS, 0.7, 1, 1)},
        {v1::EULER, {1, 0.5f, 0}, Window(v1::FLOW_SDE, 0, 0, 1)}}) {
    const auto refused = Follow(plan);
    EXPECT_TRUE(absl::IsInvalidArgument(refused.status())) << refused.status();
  }
}

// --- marginals, on data whose velocity is known: x0 is N(kMean, spread^2) in every dimension, and at sigma
// x is N((1 - sigma) kMean, (1 - sigma)^2 spread^2 + sigma^2).

constexpr double kMean = 1.5;
constexpr int64_t kDims = 1 << 16;
// Five standard deviations of a mean and of a relative deviation over that many.
const double kMeanError = 5 / std::sqrt(double(kDims)), kSpreadError = 5 / std::sqrt(2.0 * kDims);

double SpreadAt(double sigma, double spread) { return std::hypot((1 - sigma) * spread, sigma); }

at::Tensor GaussianVelocity(const at::Tensor& x, double sigma, double spread) {
  const double variance = std::pow(SpreadAt(sigma, spread), 2);
  const at::Tensor away = (x - (1 - sigma) * kMean) / variance;  // from the mean at sigma
  return sigma * away - (kMean + (1 - sigma) * spread * spread * away);  // E[eps | x] - E[x0 | x]
}

struct Moments {
  double mean_error = 0;    // largest distance from the marginal's mean, in any state
  double spread_error = 0;  // likewise of the deviation, relative to the marginal's
  double last_spread_error = 0;
};

Moments MomentsOf(v1::SdeKind kind, double level, int steps, double spread) {
  std::vector<float> sigmas;
  for (int i = 0; i < steps; ++i) sigmas.push_back(1 - static_cast<float>(i) / static_cast<float>(steps));
  sigmas.push_back(0);
  const auto sampled = Sample({v1::EULER, sigmas, Window(kind, level, 0, steps - 1)}, InitialNoise(1, 0, 0, {1, kDims}),
                              [&](const at::Tensor& x, float sigma) { return GaussianVelocity(x, sigma, spread); },
                              [](int step) { return StepNoise(1, 0, 0, step, {1, kDims}); }, Always)
                           .value();
  Moments moments;
  for (int i = 1; i < steps; ++i) {
    const at::Tensor state = sampled.trajectory->states[0][i].to(at::kDouble);
    const double expected = SpreadAt(sigmas[i], spread);
    moments.mean_error =
        std::max(moments.mean_error, std::abs(state.mean().item<double>() - (1 - sigmas[i]) * kMean) / expected);
    moments.last_spread_error = state.std().item<double>() / expected - 1;
    moments.spread_error = std::max(moments.spread_error, std::abs(moments.last_spread_error));
  }
  return moments;
}

// Beside the error of the draw there is that of the steps: the first, from sigma 1, adds a^2 dt of variance whatever dt
// is, which later ones take away again.
TEST(SamplerMarginals, FlowSdeKeepsMeanAndDeviationOfAGaussian) {
  const Moments moments = MomentsOf(v1::FLOW_SDE, 0.7, 160, 0.8);
  EXPECT_LT(moments.mean_error, 2 * kMeanError);
  EXPECT_LT(moments.spread_error, 0.06);
  EXPECT_LT(std::abs(moments.last_spread_error), 0.01 + kSpreadError);
}

TEST(SamplerMarginals, CpsKeepsMeanAndDeviationOfAPointAtAnyNumberOfSteps) {
  for (const int steps : {5, 40}) {
    for (const double level : {0.3, 0.8, 1.0}) {
      const Moments moments = MomentsOf(v1::CPS, level, steps, 0);
      EXPECT_LT(moments.mean_error, 2 * kMeanError) << level;
      EXPECT_LT(moments.spread_error, 2 * kSpreadError) << level;
    }
  }
}

// Its picture is E[x0 | x], which spreads less than x0 does; fresh noise does not make up for it. So it keeps the mean,
// and of the deviation what the variance of a linear recursion says: four fifths at the published level.
TEST(SamplerMarginals, CpsKeepsTheMeanOfAGaussianAndLosesAKnownShareOfItsDeviation) {
  constexpr int kSteps = 40;
  constexpr double kSpread = 0.8, kLevel = 0.8;
  const Moments moments = MomentsOf(v1::CPS, kLevel, kSteps, kSpread);
  EXPECT_LT(moments.mean_error, 2 * kMeanError);
  double variance = 1, sigma = 1;
  for (int i = 1; i < kSteps; ++i) {
    const double next = 1 - double(i) / kSteps, at = std::pow(SpreadAt(sigma, kSpread), 2);
    const double picture = (1 - sigma) * kSpread * kSpread / at, noise = sigma / at;  // slopes of E[x0 | x], E[eps | x]
    const double slope = (1 - next) * picture + next * std::cos(kLevel * M_PI / 2) * noise;
    variance = slope * slope * variance + std::pow(next * std::sin(kLevel * M_PI / 2), 2);
    sigma = next;
  }
  const double expected = std::sqrt(variance) / SpreadAt(sigma, kSpread) - 1;
  EXPECT_NEAR(moments.last_spread_error, expected, kSpreadError);
  EXPECT_NEAR(expected, -0.22, 0.02);
}

}  // namespace
}  // namespace flowawr
