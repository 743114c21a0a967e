// One regression to its end, v_old held still: each method must reach the answer derived in toy_methods.h, at several
// (x, t), within what so many rows can tell.
#include <gtest/gtest.h>
#include <torch/types.h>

#include <memory>
#include <string>
#include <tuple>

#include "tests/learner/algorithm/toy_gaussian.h"
#include "tests/learner/algorithm/toy_methods.h"
#include "tests/learner/algorithm/toy_training.h"

namespace flowawr {
namespace {

constexpr int64_t kSamples = 49152, kDraws = 16384;
// Of the answers at all places together, as a part of them: 2 to 4 hundredths by so many samples.
constexpr double kMostStandardError = 0.05;
// In standard errors: some three deviations above 1 for the root of a mean of squares with d p = 16 degrees of freedom.
constexpr double kMostError = 1.5;

// Four places at which answers are compared, up to .8 deviations of x_t from its mean in every dimension.
at::Tensor Places(const Gaussian& policy, double t) {
  const at::Tensor ones = at::ones({kToyDims}, at::kDouble);
  const at::Tensor mixed = at::tensor({1.0, 1.0, -1.0, -1.0, 1.0, 1.0, -1.0, -1.0}, at::kDouble);
  const at::Tensor signs = at::stack({0 * ones, ones, mixed, -mixed});
  const Gaussian noised = Noised(policy, ToyTime(t));
  return noised.mean + 0.8 * signs * noised.variance.sqrt();
}

// The model is v_old + features . parameters in each dimension: a line in x, and for FlowAWR alpha(x) times another.
class ToyRegressionTest {
 public:
  ToyRegressionTest(const ToyMethod& method, const Quadratic& reward, double t)
      : method_(method),
        reward_(reward),
        t_(t),
        algorithm_(MakeToyAlgorithm(method.config, {static_cast<float>(t), 0})),
        rows_(DrawToyRows(*algorithm_, policy_, reward, kSamples, 1)),
        features_(Features(FromLatents(rows_.x))),
        gram_inverse_(at::linalg_inv(at::einsum("njp,njq->jpq", {features_, features_}) / kSamples)) {}

  // The parameters that training ends with.
  at::Tensor Train(const at::Tensor& start) const {
    const auto model = [this](const at::Tensor& x, const at::Tensor& t, const at::Tensor& parameters) {
      return VelocityOf(policy_, x, t) + (features_ * parameters).sum(-1);
    };
    return Solve(
        [&](const at::Tensor& parameters) {
          return at::einsum("jpq,jq->jp",
                            {gram_inverse_, Descent(*algorithm_, rows_, policy_, parameters, model) * kToyDims});
        },
        start);
  }

  // Of which v_theta is the velocity of `law`.
  at::Tensor ParametersOf(const Gaussian& law) const {
    const at::Tensor t = ToyTime(t_);
    const Gaussian noised = Noised(policy_, t);
    const auto delta = [&](const at::Tensor& x) { return VelocityOf(law, x, t) - VelocityOf(policy_, x, t); };
    at::Tensor parameters = at::zeros({kToyDims, features_.size(2)}, at::kDouble);
    parameters.select(1, 0).copy_(delta(noised.mean));
    parameters.select(1, 1).copy_(delta(noised.mean + noised.variance.sqrt()) - delta(noised.mean));
    return parameters;
  }

  // Root mean square, over places and dimensions, of the difference from the answer in standard errors: near 1 where
  // the answer is right. Fails the test where the standard errors are too large to tell anything.
  double ErrorOf(const at::Tensor& parameters) const {
    const at::Tensor places = Places(policy_, t_), features = Features(places), expected = Expected(places);
    const at::Tensor error = (features * parameters).sum(-1) - expected;

    // The standard errors, of a weighted regression: bread^-1 meat bread^-1.
    const at::Tensor x = FromLatents(rows_.x), u = FromLatents(rows_.noise - rows_.x0);
    const ToyMoments moments = ToyMomentsAt(policy_, reward_, x, t_);
    const ToyRegression regression = method_.regression(ToyRowsOf(policy_, reward_, x, u, t_), moments);
    const at::Tensor pull = regression.weight * (regression.target - method_.delta(moments));
    const at::Tensor pulls = pull.unsqueeze(-1) * features_;
    const at::Tensor meat = at::einsum("njp,njq->jpq", {pulls, pulls});
    const at::Tensor bread = at::einsum("njp,njq->jpq", {features_ * regression.weight.unsqueeze(-1), features_});
    const at::Tensor covariance = at::linalg_inv(bread).matmul(meat).matmul(at::linalg_inv(bread));
    const at::Tensor variance = at::einsum("njp,jpq,njq->nj", {features, covariance, features});

    EXPECT_LT((variance.sum().sqrt() / expected.norm()).item<double>(), kMostStandardError);
    return (error.square() / variance).mean().sqrt().item<double>();
  }

 private:
  at::Tensor Features(const at::Tensor& x) const {
    const Gaussian noised = Noised(policy_, ToyTime(t_));
    const at::Tensor y = (x - noised.mean) / noised.variance.sqrt();
    std::vector<at::Tensor> features = {at::ones_like(y), y};
    if (method_.has_alpha) {
      const at::Tensor alpha = ToyMomentsAt(policy_, reward_, x, t_).alpha.expand_as(y);
      features.insert(features.end(), {alpha, alpha * y});
    }
    return at::stack(features, -1);
  }

  // The closed form, and what is left out there: the zero of the pull less that of its regression, by the same draws.
  at::Tensor Expected(const at::Tensor& places) const {
    std::vector<at::Tensor> expected;
    for (const at::Tensor& x : places.split(1)) {
      const ToyMoments moments = ToyMomentsAt(policy_, reward_, x, t_);
      const at::Tensor half = moments.variance.sqrt() * ToyNoise(2, kDraws / 2), z = at::cat({half, -half});
      const at::Tensor u = z + VelocityOf(policy_, x, ToyTime(t_));
      const ToyRows rows = ToyRowsOf(policy_, reward_, x, u, t_);
      const ToyRegression regression = method_.regression(rows, moments);
      const at::Tensor simple = (regression.weight * regression.target).mean(0, true) / regression.weight.mean();
      const at::Tensor full =
          Solve([&](const at::Tensor& delta) { return method_.pull(rows, delta).mean(0, true); }, simple);
      expected.push_back(method_.delta(moments) + full - simple);
    }
    return at::cat(expected);
  }

  const ToyMethod& method_;
  const Gaussian policy_ = ToyPolicy();
  const Quadratic reward_;
  const double t_;
  const std::unique_ptr<const Algorithm> algorithm_;
  const Rows rows_;
  const at::Tensor features_;      // [n, d, p]
  const at::Tensor gram_inverse_;  // [d, p, p]
};

using Case = std::tuple<int, bool, double>;

std::string NameOf(const testing::TestParamInfo<Case>& info) {
  const auto& [method, is_quadratic, t] = info.param;
  return ToyMethods()[method].name + (is_quadratic ? "Quadratic" : "Linear") + (t > 0.8 ? "Early" : "Late");
}

class FixedPointTest : public testing::TestWithParam<Case> {};

TEST_P(FixedPointTest, IsReachedWithTheOldPolicyHeldStill) {
  const auto [method, is_quadratic, t] = GetParam();
  const ToyRegressionTest regression(ToyMethods()[method], is_quadratic ? QuadraticReward() : LinearReward(), t);
  const at::Tensor parameters = regression.Train(regression.ParametersOf(ToyPolicy()));
  EXPECT_LT(regression.ErrorOf(parameters), kMostError);
}

INSTANTIATE_TEST_SUITE_P(AllMethods, FixedPointTest,
                         testing::Combine(testing::Range(0, 4), testing::Bool(), testing::Values(0.9, 0.7)), NameOf);

// The policy that sampled is the anchor, however far the trained one has gone since.
class StaleDataTest : public testing::TestWithParam<int> {};

TEST_P(StaleDataTest, LeadsToTheFixedPointOfThePolicyThatSampledIt) {
  const ToyRegressionTest regression(ToyMethods()[GetParam()], LinearReward(), 0.7);
  const Gaussian old = ToyPolicy();
  const at::Tensor on_policy = regression.Train(regression.ParametersOf(old));
  EXPECT_LT(regression.ErrorOf(on_policy), kMostError);
  for (int lag = 1; lag <= 4; ++lag) {
    const Gaussian current{old.mean + 0.2 * lag * LinearReward().slope, old.variance * (1 - 0.1 * lag)};
    const at::Tensor start = regression.ParametersOf(current);
    const at::Tensor stale = regression.Train(start);
    EXPECT_GT((start - on_policy).norm().item<double>(), 0.1 * lag);
    EXPECT_LT((stale - on_policy).abs().max().item<double>(), 1e-3) << lag;
  }
}

INSTANTIATE_TEST_SUITE_P(AllMethods, StaleDataTest, testing::Range(0, 4),
                         [](const auto& info) { return ToyMethods()[info.param].name; });

}  // namespace
}  // namespace flowawr
