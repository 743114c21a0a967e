// Training to and fro: the policy samples, is trained by one step of plain gradient descent, and samples again.
//
// The model is the velocity of a Gaussian N(m, S), so that samples of it are exactly those that its velocity tells of;
// with Q the variance of x_t, dv/dm = -t / Q. A linear reward c . x0 has the deviation s = sqrt(c^2 . S) whatever m is,
// and the pull at v_theta = v_old (toy_methods.h) has a mean that does not depend on m: call it P(t). Beside it the
// reference pulls by -kl_beta (v - v_ref) = kl_beta t / Q (m - m_ref). Training ends where the two are even:
//   m - m_ref = -sum_t (t / Q) P(t) / (kl_beta sum_t (t / Q)^2)
// RWR: P = E[e z] = -(t / Q) S c / (s T), so that m - m_ref = S c / (s T kl_beta), the best of
// E r / (s T) - kl_beta KL(N(m, S) | N(m_ref, S)) whatever t is. The others end in nearly the same direction, S c, at a
// distance that their denominators and scales decide.
#include <gtest/gtest.h>
#include <torch/types.h>

#include <deque>
#include <memory>
#include <string>

#include "tests/learner/algorithm/toy_gaussian.h"
#include "tests/learner/algorithm/toy_methods.h"
#include "tests/learner/algorithm/toy_training.h"
#include "tests/testing/tensor_error.h"

namespace flowawr {
namespace {

constexpr double kTimes[] = {0.9, 0.7};
constexpr int64_t kSamples = 1024, kDraws = 65536;

// About three standard errors: a direction of d numbers, each a mean over kSamples rows at two t of 32 updates, whose
// deviation is some five times the mean.
constexpr double kMostError = 0.06;

at::Tensor DescentOf(const Algorithm& algorithm, const Quadratic& reward, const at::Tensor& parameters,
                     const Gaussian& behaviour, uint64_t update) {
  const Rows rows = DrawToyRows(algorithm, behaviour, reward, kSamples, update);
  return Descent(algorithm, rows, behaviour, parameters, GaussianModel);
}

class IterationTest : public testing::TestWithParam<int> {
 protected:
  const ToyMethod& method_ = ToyMethods()[GetParam()];

  std::unique_ptr<const Algorithm> Make(double kl_beta) const {
    v1::AlgorithmConfig config = method_.config;
    method_.set_kl_beta(kl_beta, config);
    return MakeToyAlgorithm(config, {kTimes[0], kTimes[1], 0});
  }
};

TEST_P(IterationTest, OnPolicyTheMeanRewardRisesAtEveryUpdate) {
  const auto algorithm = Make(0);
  const Quadratic reward = QuadraticReward();
  at::Tensor parameters = ParametersOf(ToyPolicy());
  double last = reward.MeanUnder(LawOf(parameters)).item<double>();
  const double first = last;
  for (int update = 1; update <= 16; ++update) {
    parameters = parameters + DescentOf(*algorithm, reward, parameters, LawOf(parameters), update);
    const double now = reward.MeanUnder(LawOf(parameters)).item<double>();
    EXPECT_GT(now, last) << update;
    last = now;
  }
  EXPECT_GT(last, first + 0.5);
}

TEST_P(IterationTest, WithAReferenceItEndsWhereThePullsAreEvenOnStaleDataToo) {
  constexpr double kKlBeta = 1;
  const auto algorithm = Make(kKlBeta);
  const Quadratic reward = LinearReward();
  const Gaussian reference = ToyPolicy();

  at::Tensor pulled = at::zeros({kToyDims}, at::kDouble), held = pulled;
  for (const double t : kTimes) {
    const at::Tensor x0 = reference.variance.sqrt() * ToyNoise(1, kDraws), eps = ToyNoise(2, kDraws);
    const at::Tensor both = reference.mean + at::cat({x0, -x0}), noise = at::cat({eps, -eps});
    const ToyRows rows = ToyRowsOf(reference, reward, (1 - t) * both + t * noise, noise - both, t);
    const at::Tensor slope = t / Noised(reference, ToyTime(t)).variance;  // -dv/dm
    pulled = pulled - slope * method_.pull(rows, at::zeros({1, kToyDims}, at::kDouble)).mean(0);
    held = held + kKlBeta * slope.square();
  }
  const at::Tensor expected = pulled / held;
  if (method_.name == "RWR") {
    const at::Tensor scale = reward.DeviationUnder(reference) * kToyTemperature * kKlBeta;
    EXPECT_LT(RelativeError(expected, reference.variance * reward.slope / scale), 0.02);
  }

  constexpr int kUpdates = 64, kSettled = 32;
  for (const size_t lag : {0, 4}) {  // versions that a group is behind the policy that is trained on it
    std::deque<at::Tensor> versions(lag + 1, ParametersOf(reference));  // the oldest first
    at::Tensor sum = at::zeros({kToyDims}, at::kDouble);
    for (int update = 1; update <= kUpdates; ++update) {
      at::Tensor next = versions.back().clone();
      next[0] += DescentOf(*algorithm, reward, next, LawOf(versions.front()), update)[0];
      versions.push_back(next);
      versions.pop_front();
      if (update > kSettled) sum += next[0] - reference.mean;
    }
    EXPECT_LT(RelativeError(sum / (kUpdates - kSettled), expected), kMostError) << lag;
  }
}

INSTANTIATE_TEST_SUITE_P(AllMethods, IterationTest, testing::Range(0, 4),
                         [](const auto& info) { return ToyMethods()[info.param].name; });

}  // namespace
}  // namespace flowawr
