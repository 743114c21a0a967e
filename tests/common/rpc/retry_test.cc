#include "common/rpc/retry.h"

#include <vector>

#include "gtest/gtest.h"

namespace flowawr {
namespace {

TEST(Backoff, DoublesUpToItsCapWithoutJitter) {
  Backoff backoff({.max_attempts = 6, .initial = absl::Seconds(1), .max = absl::Seconds(5), .jitter = 0}, 1);
  std::vector<absl::Duration> waits;
  while (auto wait = backoff.Next()) waits.push_back(*wait);
  EXPECT_EQ(waits, (std::vector<absl::Duration>{absl::Seconds(1), absl::Seconds(2), absl::Seconds(4), absl::Seconds(5),
                                                absl::Seconds(5)}));
}

TEST(Backoff, NeverEndsEarlierOrLaterThanItsAttempts) {
  Backoff backoff({.max_attempts = 1});
  EXPECT_FALSE(backoff.Next().has_value());
}

TEST(Backoff, JitterStaysInItsBandAndSpreadsOut) {
  const RetryPolicy policy{.max_attempts = 2, .initial = absl::Seconds(1), .jitter = 0.25};
  absl::Duration least = absl::InfiniteDuration(), most = absl::ZeroDuration();
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const absl::Duration wait = *Backoff(policy, seed).Next();
    least = std::min(least, wait);
    most = std::max(most, wait);
  }
  EXPECT_GE(least, absl::Milliseconds(750));
  EXPECT_LE(most, absl::Milliseconds(1250));
  EXPECT_GT(most - least, absl::Milliseconds(300));
}

TEST(Backoff, StartsAnewAfterASuccess) {
  Backoff backoff({.max_attempts = 2, .jitter = 0}, 1);
  const auto first = backoff.Next();
  EXPECT_FALSE(backoff.Next().has_value());
  backoff.Reset();
  EXPECT_EQ(backoff.Next(), first);
}

TEST(IsTransient, TellsWhatMaySucceedLater) {
  EXPECT_TRUE(IsTransient(absl::UnavailableError("")));
  EXPECT_TRUE(IsTransient(absl::DeadlineExceededError("")));
  EXPECT_FALSE(IsTransient(absl::InvalidArgumentError("")));
  EXPECT_FALSE(IsTransient(absl::UnauthenticatedError("")));
  EXPECT_FALSE(IsTransient(absl::OkStatus()));
}

}  // namespace
}  // namespace flowawr
