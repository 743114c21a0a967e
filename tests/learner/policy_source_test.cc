#include "learner/policy_source.h"

#include <gtest/gtest.h>

#include <vector>

namespace flowawr {
namespace {

using Kind = PolicySource::Kind;
using Holder = PolicySpread::Holder;

constexpr Holder kIdle{.endpoint = "idle"}, kBusy{.endpoint = "busy", .fetching = kFetchesOfHolder},
    kUsed{.endpoint = "used", .served = 7}, kAtWork{.endpoint = "at-work", .fetching = 1},
    kFailedOnce{.endpoint = "failed-once", .failed = 1}, kBad{.endpoint = "bad", .failed = kFailuresOfHolder};

struct Row {
  const char* what;
  PolicySpread spread;
  Kind kind;
  const char* endpoint = "";
};

TEST(PolicySource, FollowsTheTable) {
  const int all = kCopies, some = kCopies - 1;
  const Row rows[] = {
      {"nobody else serves", {.others_serve = false, .copies = 99, .copies_under_way = 99}, Kind::kLearner},
      {"the first", {.others_serve = true}, Kind::kLearner},
      {"the last of the copies", {.holders = {kIdle}, .others_serve = true, .copies = some}, Kind::kLearner},
      {"all copies are out", {.holders = {kIdle}, .others_serve = true, .copies = all}, Kind::kPeer, "idle"},
      {"as many at once as may be",
       {.holders = {kIdle}, .others_serve = true, .copies = kCopiesAtOnce, .copies_under_way = kCopiesAtOnce},
       Kind::kPeer, "idle"},
      {"the least used", {.holders = {kUsed, kIdle}, .others_serve = true, .copies = all}, Kind::kPeer, "idle"},
      {"one without a fetch", {.holders = {kAtWork, kUsed}, .others_serve = true, .copies = all}, Kind::kPeer, "used"},
      {"one that did not fail", {.holders = {kFailedOnce, kAtWork}, .others_serve = true, .copies = all}, Kind::kPeer,
       "at-work"},
      {"one that failed, before nobody",
       {.holders = {kFailedOnce, kBusy}, .others_serve = true, .copies = all, .fetching = kFetchesOfHolder},
       Kind::kPeer, "failed-once"},
      {"all are busy",
       {.holders = {kBusy}, .others_serve = true, .copies = all, .fetching = kFetchesOfHolder}, Kind::kLater},
      {"on its way", {.others_serve = true, .copies = all, .copies_under_way = 1}, Kind::kLater},
      {"on its way from a peer", {.others_serve = true, .copies = all, .fetching = 1}, Kind::kLater},
      {"those that got it are gone", {.others_serve = true, .copies = all}, Kind::kLearner},
      {"those that have it do not give it", {.holders = {kBad}, .others_serve = true, .copies = all}, Kind::kLearner},
  };
  for (const Row& row : rows) {
    const PolicySource source = ChoosePolicySource(row.spread);
    EXPECT_EQ(source.kind, row.kind) << row.what;
    EXPECT_EQ(source.endpoint, row.endpoint) << row.what;
    EXPECT_EQ(source.retry_after > absl::ZeroDuration(), row.kind == Kind::kLater) << row.what;
  }
}

TEST(PolicySource, ManyWaitLongerSoThatFewAskAtATime) {
  const auto wait = [](int waiting) {
    return ChoosePolicySource({.others_serve = true, .copies = kCopies, .copies_under_way = 1, .waiting = waiting})
        .retry_after;
  };
  EXPECT_EQ(wait(3), wait(0));
  EXPECT_EQ(wait(1000), absl::Seconds(4));
  EXPECT_EQ(wait(5000), absl::Seconds(5));
}

}  // namespace
}  // namespace flowawr
