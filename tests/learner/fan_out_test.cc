#include "learner/fan_out.h"

#include <gtest/gtest.h>
#include <prometheus/text_serializer.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "gmock/gmock.h"
#include "tests/learner/small_run.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;
using Kind = PolicySource::Kind;

class FanOutTest : public testing::Test {
 protected:
  FanOutTest() {
    Publish(1);
    for (int i = 0; i < 40; ++i) fan_out_.Join(Actor(i), Endpoint(i));
  }

  static std::string Actor(int i) { return absl::StrCat("a", i); }
  static std::string Endpoint(int i) { return absl::StrCat("h:", 100 + i); }

  void Publish(uint64_t seed) {
    policy_ = policies_.Publish(SmallAdapter(seed), v1::BEHAVIOUR_POLICY, 0).value()->header.policy();
  }

  FanOut::Choice Choose(int actor, const std::vector<std::string>& failed = {}) {
    v1::FetchPolicyRequest request;
    request.set_actor_id(Actor(actor));
    request.set_version(policy_.version());
    request.mutable_failed_peers()->Add(failed.begin(), failed.end());
    return fan_out_.Choose(request);
  }
  PolicySource Source(int actor, const std::vector<std::string>& failed = {}) { return Choose(actor, failed).source; }
  void Adopt(int actor) { fan_out_.Adopted(Actor(actor), policy_); }
  // The learner's copies, to the first actors.
  void Seed() {
    for (int i = 0; i < kCopies; ++i) {
      ASSERT_EQ(Source(i).kind, Kind::kLearner) << i;
      Adopt(i);
    }
  }
  std::string Page() const { return prometheus::TextSerializer().Serialize(registry_.Collect()); }

  ManualClock clock_;
  PolicyShelf policies_{{}};
  prometheus::Registry registry_;
  FanOut fan_out_{&policies_, &registry_, &clock_};
  v1::PolicyVersion policy_;
};

TEST_F(FanOutTest, AFleetGetsAVersionWithAFewCopiesOfTheLearners) {
  std::vector<int> waiting;
  for (int i = 0; i < 40; ++i) waiting.push_back(i);
  int copies = 0, rounds = 0;
  for (; !waiting.empty() && rounds < 10; ++rounds) {
    std::vector<int> still, got;
    for (const int actor : waiting) {
      const PolicySource source = Source(actor);
      copies += source.kind == Kind::kLearner;
      (source.kind == Kind::kLater ? still : got).push_back(actor);
    }
    for (const int actor : got) Adopt(actor);
    waiting = still;
  }
  EXPECT_LE(copies, kCopies);
  EXPECT_EQ(rounds, 2);  // eight copies, and then four fetches of each
  EXPECT_THAT(Page(), HasSubstr(absl::StrCat("policy_fetches_total{source=\"peer\"} ", 40 - copies)));
}

TEST_F(FanOutTest, NamesAPeerToSoManyAtOnceUntilTheyHaveIt) {
  Seed();
  for (int i = 0; i < kCopies * kFetchesOfHolder; ++i) {
    fan_out_.Join(absl::StrCat("b", i), "");
    v1::FetchPolicyRequest request;
    request.set_actor_id(absl::StrCat("b", i));
    request.set_version(policy_.version());
    EXPECT_EQ(fan_out_.Choose(request).source.kind, Kind::kPeer) << i;
  }
  EXPECT_EQ(Source(30).kind, Kind::kLater);
  fan_out_.Adopted("b0", policy_);
  EXPECT_EQ(Source(30).kind, Kind::kPeer);
}

TEST_F(FanOutTest, NeverNamesAnActorToItselfNorAPeerThatFailedIt) {
  Seed();
  const std::string first = Source(30).endpoint, second = Source(30, {first}).endpoint;
  EXPECT_NE(first, second);
  EXPECT_NE(Source(0).endpoint, Endpoint(0));
  Adopt(0);
  std::vector<std::string> all;
  for (int i = 0; i < kCopies; ++i) all.push_back(Endpoint(i));
  EXPECT_EQ(Source(30, all).kind, Kind::kLearner);  // nobody fetches, and none that has it is left
}

TEST_F(FanOutTest, APeerThatFailsSeveralIsNamedToNobodyButNotOnTheWordOfOne) {
  Seed();
  const std::string bad = Source(30).endpoint;
  for (int i = 0; i < 5; ++i) {
    Source(31, {bad});  // was never told it
    Source(30, {bad});  // once
  }
  EXPECT_THAT(Page(), HasSubstr("policy_peer_failures_total 1\n"));
  // Others that are told it, because all others are more in use, find the same.
  std::vector<std::string> others;
  for (int i = 0; i < kCopies; ++i)
    if (Endpoint(i) != bad) others.push_back(Endpoint(i));
  for (int actor = 32; actor < 34; ++actor) {
    ASSERT_EQ(Source(actor, others).endpoint, bad);
    std::vector<std::string> failed = others;
    failed.push_back(bad);
    Source(actor, failed);
  }
  EXPECT_NE(Source(35, others).endpoint, bad);
  // The next version is another matter.
  Publish(2);
  Seed();
  EXPECT_EQ(Source(35, others).endpoint, bad);
}

TEST_F(FanOutTest, AnActorThatTakesTheLearnersCopyAfterAllHadNothingOfThePeerThatItWasTold) {
  Seed();
  const std::string bad = Source(30).endpoint;
  v1::FetchPolicyRequest request;
  request.set_actor_id(Actor(30));
  request.set_version(policy_.version());
  request.add_failed_peers(bad);
  fan_out_.TakeLearners(request);
  EXPECT_THAT(Page(), HasSubstr("policy_peer_failures_total 1\n"));
  Adopt(30);
  EXPECT_THAT(Page(), HasSubstr("policy_fetches_total{source=\"peer\"} 0\n"));
  EXPECT_NE(Source(31).endpoint, bad);
}

TEST_F(FanOutTest, ACopyThatBrokeOffIsSentAnew) {
  for (int i = 0; i < kCopiesAtOnce; ++i) {
    const FanOut::Choice choice = Choose(i);
    ASSERT_EQ(choice.source.kind, Kind::kLearner);
    fan_out_.CopyEnded(Actor(i), choice.copy, 0, /*is_whole=*/false);
  }
  Seed();
}

TEST_F(FanOutTest, TheEndOfAnOldCopySaysNothingOfTheNextOne) {
  const FanOut::Choice old = Choose(0);
  for (int i = 0; i < kCopiesAtOnce; ++i) ASSERT_EQ(Source(i).kind, Kind::kLearner);
  fan_out_.CopyEnded(Actor(0), old.copy, 0, /*is_whole=*/false);
  EXPECT_EQ(Source(30).kind, Kind::kLater);
}

TEST_F(FanOutTest, ActorsThatVanishKeepNobodyWaiting) {
  for (int i = 0; i < kCopiesAtOnce; ++i) Source(i);
  EXPECT_EQ(Source(30).kind, Kind::kLater);
  fan_out_.Leave(Actor(0));
  EXPECT_EQ(Source(30).kind, Kind::kLearner);
  EXPECT_EQ(Source(31).kind, Kind::kLater);
  clock_.Advance(FanOut::kLongestFetch);
  EXPECT_EQ(Source(31).kind, Kind::kLearner);
}

TEST_F(FanOutTest, AnActorThatRegistersAgainHasNothing) {
  Seed();
  for (int i = 1; i < kCopies; ++i) fan_out_.Join(Actor(i), Endpoint(i));
  EXPECT_EQ(Source(30).endpoint, Endpoint(0));
  EXPECT_EQ(Source(31, {Endpoint(0)}).kind, Kind::kLater);
}

TEST_F(FanOutTest, WithoutOthersThatServeEveryCopyIsTheLearners) {
  for (int i = 1; i < 40; ++i) fan_out_.Leave(Actor(i));
  for (int i = 0; i < 40; ++i) EXPECT_EQ(Source(0).kind, Kind::kLearner);
}

}  // namespace
}  // namespace flowawr
