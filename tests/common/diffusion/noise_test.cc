#include "common/diffusion/noise.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>

namespace flowawr {
namespace {

TEST(InitialNoiseTest, IsAFunctionOfItsArgumentsAndOfEachOfThem) {
  const at::Tensor noise = InitialNoise(1, 2, 3, {4, 8, 8});
  EXPECT_EQ(noise.sizes(), (at::IntArrayRef{4, 8, 8}));
  EXPECT_EQ(noise.scalar_type(), at::kFloat);
  EXPECT_TRUE(at::equal(noise, InitialNoise(1, 2, 3, {4, 8, 8})));
  constexpr uint64_t kHighBit = uint64_t{1} << 40;
  EXPECT_FALSE(at::equal(noise, InitialNoise(9, 2, 3, {4, 8, 8})));
  EXPECT_FALSE(at::equal(noise, InitialNoise(1 + kHighBit, 2, 3, {4, 8, 8})));
  EXPECT_FALSE(at::equal(noise, InitialNoise(1, 9, 3, {4, 8, 8})));
  EXPECT_FALSE(at::equal(noise, InitialNoise(1, 2 + kHighBit, 3, {4, 8, 8})));
  EXPECT_FALSE(at::equal(noise, InitialNoise(1, 2, 9, {4, 8, 8})));
}

TEST(InitialNoiseTest, ASmallerShapeIsThePrefixOfALargerOne) {
  const at::Tensor longest = InitialNoise(1, 2, 3, {4097});
  for (const int64_t count : {0, 1, 2, 3, 4, 5, 6, 7, 4096})
    EXPECT_TRUE(at::equal(InitialNoise(1, 2, 3, {count}), longest.slice(0, 0, count))) << count;
  EXPECT_TRUE(at::equal(InitialNoise(1, 2, 3, {2, 3, 5}).flatten(), longest.slice(0, 0, 30)));
}

TEST(InitialNoiseTest, HasTheMomentsAndTailsOfTheStandardNormal) {
  constexpr int64_t kCount = 1 << 20;
  const at::Tensor noise = InitialNoise(7, 0, 0, {kCount}).to(at::kDouble);
  // Bounds of five standard deviations: Var(x^n) / kCount with Var = 1, 2, 15, 96.
  EXPECT_NEAR(noise.mean().item<double>(), 0, 5 * std::sqrt(1.0 / kCount));
  EXPECT_NEAR(noise.square().mean().item<double>(), 1, 5 * std::sqrt(2.0 / kCount));
  EXPECT_NEAR(noise.pow(3).mean().item<double>(), 0, 5 * std::sqrt(15.0 / kCount));
  EXPECT_NEAR(noise.pow(4).mean().item<double>(), 3, 5 * std::sqrt(96.0 / kCount));
  // Kolmogorov-Smirnov at a false alarm in a million.
  const at::Tensor sorted = std::get<0>(noise.sort());
  const at::Tensor normal = (at::erf(sorted / std::sqrt(2.0)) + 1) / 2;
  const at::Tensor empirical = (at::arange(kCount, at::kDouble) + 0.5) / double(kCount);
  EXPECT_LT((normal - empirical).abs().max().item<double>(), 2.7 / std::sqrt(double(kCount)));
}

TEST(InitialNoiseTest, SamplesGroupsSeedsAndPositionsAreUncorrelated) {
  constexpr int64_t kCount = 1 << 16;
  const double bound = 5 / std::sqrt(double(kCount));
  const at::Tensor noise = InitialNoise(1, 1, 1, {kCount});
  const auto correlation = [&](const at::Tensor& other) { return (noise * other).mean().item<double>(); };
  EXPECT_NEAR(correlation(InitialNoise(1, 1, 2, {kCount})), 0, bound);
  EXPECT_NEAR(correlation(InitialNoise(1, 2, 1, {kCount})), 0, bound);
  EXPECT_NEAR(correlation(InitialNoise(2, 1, 1, {kCount})), 0, bound);
  for (int64_t lag = 1; lag <= 8; ++lag) EXPECT_NEAR(correlation(noise.roll(lag)), 0, bound) << lag;
  const at::Tensor squares = noise.square() - 1;  // a pair of Box-Muller shares its radius with nobody
  for (int64_t lag = 1; lag <= 4; ++lag)
    EXPECT_NEAR((squares * squares.roll(lag)).mean().item<double>(), 0, 2 * bound) << lag;
}

TEST(StepNoiseTest, IsAFunctionOfItsArgumentsAndOfEachOfThem) {
  const at::Tensor noise = StepNoise(1, 2, 3, 4, {4, 8, 8});
  EXPECT_EQ(noise.sizes(), (at::IntArrayRef{4, 8, 8}));
  EXPECT_TRUE(at::equal(noise, StepNoise(1, 2, 3, 4, {4, 8, 8})));
  for (const at::Tensor& other :
       {StepNoise(9, 2, 3, 4, {4, 8, 8}), StepNoise(1, 9, 3, 4, {4, 8, 8}), StepNoise(1, 2, 9, 4, {4, 8, 8}),
        StepNoise(1, 2, 3, 5, {4, 8, 8}), InitialNoise(1, 2, 3, {4, 8, 8})})
    EXPECT_FALSE(at::equal(noise, other));
}

// Not one number of it is drawn twice: neither by another step nor as initial noise, of any sample.
TEST(StepNoiseTest, SharesNoNumberWithOtherStepsSamplesOrTheInitialNoise) {
  constexpr int64_t kCount = 1 << 14;
  std::vector<at::Tensor> all;
  for (const uint32_t sample : {0, 1}) {
    all.push_back(InitialNoise(1, 5, sample, {kCount}));
    for (const int step : {0, 1, 2, 1022}) all.push_back(StepNoise(1, 5, sample, step, {kCount}));
  }
  const at::Tensor numbers = at::stack(all);
  const double bound = 5 / std::sqrt(double(kCount));
  const at::Tensor products = numbers.matmul(numbers.t()) / double(kCount) - at::eye(numbers.size(0));
  EXPECT_LT(products.triu(1).abs().max().item<double>(), bound);
  // Some hundred of them are the same float by chance; one counter that two of the tensors share would give up to 2^14.
  const int64_t different = std::get<0>(at::_unique(numbers.flatten())).numel();
  EXPECT_GT(different, numbers.numel() - 2000);
}

TEST(StepNoiseTest, HasTheMomentsOfTheStandardNormal) {
  constexpr int64_t kCount = 1 << 20;
  const at::Tensor noise = StepNoise(7, 1, 2, 3, {kCount}).to(at::kDouble);
  EXPECT_NEAR(noise.mean().item<double>(), 0, 5 * std::sqrt(1.0 / kCount));
  EXPECT_NEAR(noise.square().mean().item<double>(), 1, 5 * std::sqrt(2.0 / kCount));
  EXPECT_NEAR(noise.pow(4).mean().item<double>(), 3, 5 * std::sqrt(96.0 / kCount));
}

TEST(StepNoiseTest, ItsMeanSquareIsKnownWithoutIt) {
  for (const int64_t count : {1, 2, 3, 4, 5, 7, 4096, 100001}) {
    const double expected = StepNoise(1, 2, 3, 4, {count}).to(at::kDouble).square().mean().item<double>();
    EXPECT_NEAR(StepNoiseMeanSquare(1, 2, 3, 4, count), expected, 1e-6 * expected) << count;
  }
}

TEST(StepNoiseTest, RefusesWhatItsNumbersHaveNoRoomFor) {
  EXPECT_THROW(StepNoise(1, 2, 3, -1, {4}), c10::Error);
  EXPECT_THROW(StepNoise(1, 2, 3, 1023, {4}), c10::Error);
  EXPECT_THROW(StepNoise(1, 2, 3, 0, {(1 << 24) + 1}), c10::Error);
}

TEST(CounterRngTest, IsIndependentOfTheNoiseWithTheSameSeed) {
  constexpr int64_t kCount = 1 << 14;
  const at::Tensor noise = InitialNoise(1, 0, 0, {kCount});
  at::Tensor uniform = at::empty({kCount});
  CounterRng rng(1, 0);
  for (int64_t i = 0; i < kCount; ++i) uniform.data_ptr<float>()[i] = static_cast<float>(rng.Uniform() - 0.5);
  EXPECT_NEAR((noise * uniform).mean().item<double>(), 0, 5 * std::sqrt(1.0 / 12 / kCount));
}

}  // namespace
}  // namespace flowawr
