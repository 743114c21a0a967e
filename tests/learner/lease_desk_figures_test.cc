// What the desk shows in the status, for metrics and boards: why the run is paused, how actors fare.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "learner/caller.h"
#include "learner/lease_desk.h"
#include "learner/recent_rate.h"
#include "tests/learner/small_run.h"

namespace flowawr {
namespace {

using ::testing::DoubleEq;

class LeaseDeskFiguresTest : public testing::Test {
 protected:
  LeaseDeskFiguresTest() : desk_(Options()) {
    EXPECT_TRUE(desk_.policies.Publish(SmallAdapter(1), v1::BEHAVIOUR_POLICY, 0).ok());
  }

  LeaseDesk::Options Options() const {
    LeaseDesk::Options options = SmallDeskOptions();
    options.clock = &clock_;
    return options;
  }
  void Join(const std::string& actor, const std::string& session) {
    ASSERT_TRUE(desk_.leases.Claim(actor, session).ok());
    desk_.leases.Register(actor, /*has_model=*/true, "10.0.0.1");
  }
  void Deliver(const std::string& actor) {
    const auto answer = AcquireLease(desk_.leases, actor, absl::ZeroDuration());
    ASSERT_TRUE(answer.ok() && answer->has_lease());
    const SmallGroup group =
        MakeSmallGroup(answer->lease(), desk_.policies.Find(answer->lease().policy_version())->header.policy(), actor);
    ASSERT_TRUE(desk_.leases.Accept(group.header, group.blob).ok());
  }

  ManualClock clock_;
  SmallDesk desk_;
};

TEST_F(LeaseDeskFiguresTest, TellsTheCauseOfAPauseAsLongAsItLasts) {
  EXPECT_EQ(desk_.board.status().pause_cause(), "");
  desk_.leases.Pause("metrics.jsonl could not be written", "disk");
  EXPECT_EQ(desk_.board.status().pause_cause(), "disk");
  desk_.leases.Resume();
  EXPECT_EQ(desk_.board.status().pause_cause(), "");
  desk_.leases.Pause("on request");
  EXPECT_EQ(desk_.board.status().pause_cause(), "operator");
}

TEST_F(LeaseDeskFiguresTest, TellsWhyTheRunCannotGoOnWhoeverWantsItToPauseBesides) {
  desk_.leases.Pause("on request");
  desk_.leases.Pause("metrics.jsonl could not be written", "disk");
  desk_.leases.Pause("on request");
  EXPECT_EQ(desk_.board.status().pause_cause(), "disk");
  EXPECT_EQ(desk_.board.status().message(), "metrics.jsonl could not be written");
  desk_.leases.Resume();
  EXPECT_FALSE(desk_.leases.is_paused());
}

TEST_F(LeaseDeskFiguresTest, TellsOfEachActorWhatItMadeAndHoldsAndFromWhereItCalls) {
  Join("a", "1");
  Join("b", "1");
  desk_.leases.Offer({SmallLease(0), SmallLease(1)});
  Deliver("a");
  clock_.Advance(absl::Seconds(4));
  ASSERT_TRUE(AcquireLease(desk_.leases, "b", absl::ZeroDuration())->has_lease());
  const v1::Status status = desk_.board.status();
  ASSERT_EQ(status.actors_size(), 2);
  EXPECT_EQ(status.actors(0).samples(), kSmallSamples);
  EXPECT_THAT(status.actors(0).images_per_s(), DoubleEq(kSmallSamples / 4.0));
  EXPECT_EQ(status.actors(0).held_leases(), 0u);
  EXPECT_EQ(status.actors(0).address(), "10.0.0.1");
  EXPECT_EQ(status.actors(1).samples(), 0u);
  EXPECT_EQ(status.actors(1).held_leases(), 1u);
}

TEST_F(LeaseDeskFiguresTest, CountsActorsThatComeLeaveAndAreLost) {
  Join("a", "1");
  Join("b", "1");
  EXPECT_EQ(desk_.leases.fleet().joined, 2u);
  desk_.leases.Leave("a");
  EXPECT_EQ(desk_.leases.fleet().left, 1u);
  clock_.Advance(ActorBook::kGone);
  // It begins anew, and had not left: it was lost, whether that was noticed meanwhile or not.
  Join("b", "2");
  EXPECT_EQ(desk_.leases.fleet().joined, 3u);
  EXPECT_EQ(desk_.leases.fleet().lost, 1u);
  EXPECT_EQ(desk_.leases.fleet().left, 1u);
}

TEST(RecentRateTest, ForgetsWhatIsOlderThanAMinute) {
  RecentRate rate;
  const absl::Time start = absl::UnixEpoch();
  EXPECT_EQ(rate.PerSecond(start), 0);
  rate.Begin(start);
  rate.Add(start + absl::Seconds(10), 30);
  EXPECT_THAT(rate.PerSecond(start + absl::Seconds(10)), DoubleEq(3));
  rate.Add(start + absl::Seconds(60), 90);
  EXPECT_THAT(rate.PerSecond(start + absl::Seconds(60)), DoubleEq(2));
  EXPECT_THAT(rate.PerSecond(start + absl::Seconds(75)), DoubleEq(1.5));
  EXPECT_THAT(rate.PerSecond(start + absl::Seconds(200)), DoubleEq(0));
}

TEST(HostOfPeerTest, LeavesOutSchemeAndPort) {
  EXPECT_EQ(HostOfPeer("ipv4:127.0.0.1:4321"), "127.0.0.1");
  EXPECT_EQ(HostOfPeer("ipv6:%5B::1%5D:4321"), "::1");
  EXPECT_EQ(HostOfPeer("ipv6:[fe80::2]:4321"), "fe80::2");
  EXPECT_EQ(HostOfPeer("unix:"), "unix:");
}

}  // namespace
}  // namespace flowawr
