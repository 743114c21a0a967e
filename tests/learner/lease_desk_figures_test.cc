// What the desk adds to the status for metrics and boards: ages, why the run is paused, how actors fare.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "learner/caller.h"
#include "learner/desk.h"
#include "learner/recent_rate.h"
#include "tests/learner/small_run.h"

namespace flowawr {
namespace {

using ::testing::DoubleEq;

class DeskFiguresTest : public testing::Test {
 protected:
  DeskFiguresTest() : desk_(Options()) {
    EXPECT_TRUE(desk_.Publish(SmallAdapter(1), v1::BEHAVIOUR_POLICY, 0).ok());
  }

  Desk::Options Options() const {
    Desk::Options options = SmallDeskOptions();
    options.clock = &clock_;
    return options;
  }
  void Join(const std::string& actor, const std::string& session) {
    ASSERT_TRUE(desk_.Claim(actor, session).ok());
    desk_.Register(actor, /*has_model=*/true, "10.0.0.1");
  }
  void Deliver(const std::string& actor) {
    const auto answer = AcquireLease(desk_, actor, absl::ZeroDuration());
    ASSERT_TRUE(answer.ok() && answer->has_lease());
    const SmallGroup group =
        MakeSmallGroup(answer->lease(), desk_.FindPolicy(answer->lease().policy_version())->header.policy(), actor);
    ASSERT_TRUE(desk_.Accept(group.header, group.blob).ok());
  }

  ManualClock clock_;
  Desk desk_;
};

TEST_F(DeskFiguresTest, AgesOfUpdateAndCheckpointGrowFromWhenTheyWereMade) {
  EXPECT_FALSE(desk_.status().has_update_age_s());
  desk_.UpdateStatus([](v1::Status& status) { status.set_update_age_s(0); });
  clock_.Advance(absl::Seconds(7));
  desk_.UpdateStatus([](v1::Status& status) { status.set_checkpoint_age_s(0); });
  clock_.Advance(absl::Seconds(2));
  EXPECT_THAT(desk_.status().update_age_s(), DoubleEq(9));
  EXPECT_THAT(desk_.status().checkpoint_age_s(), DoubleEq(2));
  desk_.UpdateStatus([](v1::Status& status) { status.set_update_age_s(0); });
  EXPECT_THAT(desk_.status().update_age_s(), DoubleEq(0));
}

// So that a board sees a run loop that waits while it waits, not once it is over.
TEST_F(DeskFiguresTest, CountsAStageOfTheRunLoopWhileItGoesOn) {
  desk_.BeginStage("wait");
  clock_.Advance(absl::Seconds(3));
  EXPECT_THAT(desk_.status().learner_seconds().at("wait"), DoubleEq(3));
  clock_.Advance(absl::Seconds(1));
  desk_.EndStage();
  desk_.BeginStage("train");
  clock_.Advance(absl::Seconds(2));
  desk_.EndStage();
  clock_.Advance(absl::Seconds(5));
  EXPECT_THAT(desk_.status().learner_seconds().at("wait"), DoubleEq(4));
  EXPECT_THAT(desk_.status().learner_seconds().at("train"), DoubleEq(2));
  EXPECT_THAT(desk_.learner_seconds().at("wait"), DoubleEq(4));
}

TEST_F(DeskFiguresTest, TellsTheCauseOfAPauseAsLongAsItLasts) {
  EXPECT_EQ(desk_.status().pause_cause(), "");
  desk_.Pause("metrics.jsonl could not be written", "disk");
  EXPECT_EQ(desk_.status().pause_cause(), "disk");
  desk_.Resume();
  EXPECT_EQ(desk_.status().pause_cause(), "");
  desk_.Pause("on request");
  EXPECT_EQ(desk_.status().pause_cause(), "operator");
}

TEST_F(DeskFiguresTest, TellsOfEachActorWhatItMadeAndHoldsAndFromWhereItCalls) {
  Join("a", "1");
  Join("b", "1");
  desk_.Offer({SmallLease(0), SmallLease(1)});
  Deliver("a");
  clock_.Advance(absl::Seconds(4));
  ASSERT_TRUE(AcquireLease(desk_, "b", absl::ZeroDuration())->has_lease());
  const v1::Status status = desk_.status();
  ASSERT_EQ(status.actors_size(), 2);
  EXPECT_EQ(status.actors(0).samples(), kSmallSamples);
  EXPECT_THAT(status.actors(0).images_per_s(), DoubleEq(kSmallSamples / 4.0));
  EXPECT_EQ(status.actors(0).held_leases(), 0u);
  EXPECT_EQ(status.actors(0).address(), "10.0.0.1");
  EXPECT_EQ(status.actors(1).samples(), 0u);
  EXPECT_EQ(status.actors(1).held_leases(), 1u);
}

TEST_F(DeskFiguresTest, CountsActorsThatComeLeaveAndAreLost) {
  Join("a", "1");
  Join("b", "1");
  EXPECT_EQ(desk_.fleet().joined, 2u);
  desk_.Leave("a");
  EXPECT_EQ(desk_.fleet().left, 1u);
  clock_.Advance(Desk::kGone);
  // It begins anew, and had not left: it was lost, whether that was noticed meanwhile or not.
  Join("b", "2");
  EXPECT_EQ(desk_.fleet().joined, 3u);
  EXPECT_EQ(desk_.fleet().lost, 1u);
  EXPECT_EQ(desk_.fleet().left, 1u);
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
