#include "common/diffusion/counter_rng.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace flowawr {
namespace {

TEST(CounterRngTest, IsFoundAgainByItsSeedAndStream) {
  CounterRng first(3, 5), again(3, 5), other_stream(3, 6), other_seed(4, 5);
  for (int i = 0; i < 100; ++i) {
    const uint64_t value = first.Next();
    EXPECT_EQ(value, again.Next());
    EXPECT_NE(value, other_stream.Next());
    EXPECT_NE(value, other_seed.Next());
  }
}

TEST(CounterRngTest, UniformFillsTheUnitIntervalEvenly) {
  constexpr int kBins = 64, kDraws = 1 << 17;
  std::vector<int> bins(kBins);
  CounterRng rng(1, 2);
  for (int i = 0; i < kDraws; ++i) {
    const double value = rng.Uniform();
    ASSERT_GE(value, 0);
    ASSERT_LT(value, 1);
    ++bins[static_cast<int>(value * kBins)];
  }
  double chi_square = 0;
  for (const int count : bins)
    chi_square += (count - kDraws / kBins) * (count - kDraws / kBins) / double(kDraws / kBins);
  EXPECT_NEAR(chi_square, kBins - 1, 5 * std::sqrt(2.0 * (kBins - 1)));
}

TEST(CounterRngTest, BelowStaysBelowAndReachesEveryValueEquallyOften) {
  CounterRng rng(1, 3);
  EXPECT_EQ(rng.Below(1), 0u);
  for (const uint64_t n : {2, 3, 7, 10}) {
    constexpr int kDraws = 20000;
    std::vector<int> counts(n);
    for (int i = 0; i < kDraws; ++i) {
      const uint64_t value = rng.Below(n);
      ASSERT_LT(value, n);
      ++counts[value];
    }
    const double expected = double(kDraws) / double(n);
    for (const int count : counts) EXPECT_NEAR(count, expected, 5 * std::sqrt(expected)) << n;
  }
}

// A plain remainder would give the lower half of this range twice as often.
TEST(CounterRngTest, BelowHasNoModuloBias) {
  constexpr uint64_t kRange = (std::numeric_limits<uint64_t>::max() / 3) * 2;
  constexpr int kDraws = 20000;
  CounterRng rng(1, 4);
  int low = 0;
  for (int i = 0; i < kDraws; ++i) {
    const uint64_t value = rng.Below(kRange);
    ASSERT_LT(value, kRange);
    low += value < kRange / 2;
  }
  EXPECT_NEAR(low, kDraws / 2, 5 * std::sqrt(kDraws) / 2);
}

// Whatever was drawn with a seed once is drawn with it for ever: prompt sets and runs are found again by theirs.
TEST(CounterRngTest, GivesTheNumbersItAlwaysGave) {
  CounterRng rng(7, 11);
  EXPECT_EQ(rng.Next(), 17355398964185849842u);
}

}  // namespace
}  // namespace flowawr
