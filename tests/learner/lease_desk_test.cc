#include "learner/lease_desk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "tests/learner/small_run.h"

namespace flowawr {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

constexpr absl::Duration kTimeout = absl::Seconds(8);
constexpr absl::Duration kForEver = absl::InfiniteDuration();
constexpr uint64_t kEvaluation = kEvaluationGroupBit;

v1::FailLeaseRequest Failure(const std::string& actor, uint64_t group_id, uint32_t attempt, const std::string& cause,
                             const std::string& message = "", bool is_handed_back = false) {
  v1::FailLeaseRequest request;
  request.set_actor_id(actor);
  request.mutable_lease()->set_group_id(group_id);
  request.mutable_lease()->set_attempt(attempt);
  request.set_cause(cause);
  request.set_message(message);
  request.set_is_handed_back(is_handed_back);
  return request;
}

// On a clock that stands still unless told, with two registered actors and behaviour version 1 published.
class LeaseDeskTest : public testing::Test {
 protected:
  LeaseDeskTest() : desk_(Options(0)) { SetUpDesk(desk_); }

  LeaseDesk::Options Options(int max_staleness) const {
    LeaseDesk::Options options = SmallDeskOptions();
    options.batches.max_staleness = max_staleness;
    options.clock = &clock_;
    return options;
  }

  static void SetUpDesk(SmallDesk& desk) {
    EXPECT_FALSE(desk.leases.Register("a", /*has_model=*/true));
    EXPECT_FALSE(desk.leases.Register("b", /*has_model=*/true));
    EXPECT_TRUE(desk.policies.Publish(SmallAdapter(1), v1::BEHAVIOUR_POLICY, 0).ok());
  }

  // Without waiting; nullopt when there is none.
  std::optional<v1::Lease> Acquire(const std::string& actor, SmallDesk* desk = nullptr) {
    const auto answer = AcquireLease(desk == nullptr ? desk_.leases : desk->leases, actor, absl::ZeroDuration());
    EXPECT_TRUE(answer.ok()) << answer.status();
    return answer.ok() && answer->has_lease() ? std::optional(answer->lease()) : std::nullopt;
  }

  // A wait for a lease that nothing but the desk ends: its status then.
  std::shared_ptr<std::optional<absl::Status>> BeginWait(const std::string& actor) {
    auto ended = std::make_shared<std::optional<absl::Status>>();
    desk_.leases.Acquire(actor, kForEver, [ended](auto answer) { *ended = answer.status(); });
    return ended;
  }

  void Offer(std::vector<uint64_t> ids) {
    std::vector<v1::Lease> leases;
    for (const uint64_t id : ids) leases.push_back(SmallLease(id));
    desk_.leases.Offer(std::move(leases));
  }

  static absl::StatusOr<v1::RenewLeasesResponse> Renew(SmallDesk& desk, const std::string& actor,
                                                       std::vector<v1::Lease> held = {}) {
    v1::RenewLeasesRequest request;
    request.set_actor_id(actor);
    for (const v1::Lease& lease : held) *request.add_leases() = Ref(lease);
    (*request.mutable_stage_seconds())["sample"] = 3;
    return desk.leases.Renew(request);
  }

  static v1::LeaseRef Ref(const v1::Lease& lease) {
    v1::LeaseRef ref;
    ref.set_group_id(lease.group_id());
    ref.set_attempt(lease.attempt());
    return ref;
  }

  absl::Status Fail(const std::string& actor, const v1::Lease& lease, bool is_handed_back) {
    return desk_.leases.Fail(Failure(actor, lease.group_id(), lease.attempt(),
                              is_handed_back ? "actor_stopping" : "reward_failed", "scripted", is_handed_back));
  }

  static SmallGroup Make(const SmallDesk& desk, const v1::Lease& lease, const std::string& actor = "a") {
    return MakeSmallGroup(lease, desk.policies.Find(lease.policy_version())->header.policy(), actor);
  }

  static absl::Status Submit(SmallDesk& desk, const SmallGroup& group) {
    const absl::StatusOr<uint64_t> most = desk.leases.CheckSubmission(group.header);
    if (!most.ok()) return most.status();
    EXPECT_LE(group.blob.size(), *most);
    return desk.leases.Accept(group.header, group.blob);
  }

  // Leases everything that waits and delivers it.
  void DeliverAll() {
    while (const std::optional<v1::Lease> lease = Acquire("a")) {
      const absl::Status status = Submit(desk_, Make(desk_, *lease));
      ASSERT_TRUE(status.ok()) << status;
    }
  }

  static std::vector<uint64_t> Ids(const std::optional<std::vector<Group>>& groups) {
    std::vector<uint64_t> ids;
    if (groups)
      for (const Group& group : *groups) ids.push_back(group.id());
    return ids;
  }

  ManualClock clock_;
  SmallDesk desk_;
};

// ---- who may lease

TEST_F(LeaseDeskTest, RefusesAnActorThatNeverRegistered) {
  Offer({0});
  const auto lease = AcquireLease(desk_.leases, "stranger", kForEver);
  EXPECT_EQ(lease.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(lease.status().message()), HasSubstr("\"stranger\" is not registered"));
  EXPECT_EQ(Renew(desk_, "stranger").status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(desk_.board.status().actors_size(), 2);  // and takes no note of it
  EXPECT_TRUE(Acquire("a"));                   // the lease was kept for others
}

TEST_F(LeaseDeskTest, AnActorThatDidNotShowItsModelIsKnownButGetsNoLease) {
  Offer({0});
  EXPECT_FALSE(desk_.leases.Register("c", /*has_model=*/false));
  EXPECT_TRUE(Renew(desk_, "c").ok());
  EXPECT_EQ(AcquireLease(desk_.leases, "c", kForEver).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(desk_.leases.Register("c", /*has_model=*/true));
  EXPECT_TRUE(Acquire("c"));
}

TEST_F(LeaseDeskTest, AnActorThatBeginsAgainHoldsNothingAndShowsItsModelAnew) {
  Offer({0});
  const auto first = Acquire("a");
  ASSERT_TRUE(first);
  EXPECT_EQ(desk_.board.status().open_leases(), 1u);
  desk_.leases.Register("a", /*has_model=*/false);
  EXPECT_EQ(desk_.board.status().open_leases(), 0u);
  EXPECT_FALSE(AcquireLease(desk_.leases, "a", absl::ZeroDuration()).ok());
  const auto second = Acquire("b");
  ASSERT_TRUE(second);
  EXPECT_EQ(second->attempt(), first->attempt() + 1);
}

TEST_F(LeaseDeskTest, ForgetsAnActorThatWasGoneForLongWhenAnotherComes) {
  clock_.Advance(absl::Hours(1));
  ASSERT_TRUE(Renew(desk_, "b").ok());
  EXPECT_TRUE(Renew(desk_, "a").ok());  // nobody came
  clock_.Advance(absl::Minutes(30));
  ASSERT_TRUE(Renew(desk_, "b").ok());
  clock_.Advance(absl::Minutes(30));
  desk_.leases.Register("c", true);
  EXPECT_TRUE(Renew(desk_, "b").ok());
  EXPECT_EQ(Renew(desk_, "a").status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(LeaseDeskTest, AnotherSessionTakesNothingFromALiveActor) {
  Offer({0});
  ASSERT_TRUE(desk_.leases.Claim("c", "mine").ok());
  desk_.leases.Register("c", /*has_model=*/true);
  ASSERT_TRUE(Acquire("c"));
  const absl::Status claimed = desk_.leases.Claim("c", "another's");
  EXPECT_EQ(claimed.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(claimed.message()), HasSubstr("\"c\" is alive"));
  EXPECT_EQ(desk_.leases.CheckSession("c", "another's").code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(desk_.leases.CheckSession("c", "mine").ok());
  EXPECT_EQ(desk_.board.status().open_leases(), 1u);
  EXPECT_TRUE(desk_.leases.Claim("c", "mine").ok());  // it lost the connection and comes back
}

TEST_F(LeaseDeskTest, AnotherSessionFollowsAnActorThatIsSilentOrWhoseWatchBroke) {
  ASSERT_TRUE(desk_.leases.Claim("c", "first").ok());
  clock_.Advance(ActorBook::kGone - absl::Seconds(1));
  EXPECT_FALSE(desk_.leases.Claim("c", "second").ok());
  clock_.Advance(absl::Seconds(1));
  EXPECT_TRUE(desk_.leases.Claim("c", "second").ok());
  desk_.leases.Register("c", true);
  EXPECT_EQ(desk_.leases.BeginWatch("c", "first"), 0u);
  const ActorBook::WatchId watch = desk_.leases.BeginWatch("c", "second");
  EXPECT_FALSE(desk_.leases.Claim("c", "third").ok());
  desk_.leases.EndWatch("c", watch);
  EXPECT_TRUE(desk_.leases.Claim("c", "third").ok());
}

// A server hears late of the end of a stream whose connection broke; the actor is back by then.
TEST_F(LeaseDeskTest, TheLateEndOfAnOldWatchSaysNothingOfAnActorThatIsBack) {
  ASSERT_TRUE(desk_.leases.Claim("c", "mine").ok());
  desk_.leases.Register("c", true);
  const ActorBook::WatchId first = desk_.leases.BeginWatch("c", "mine");
  ASSERT_TRUE(desk_.leases.Claim("c", "mine").ok());
  desk_.leases.Register("c", true);
  desk_.leases.EndWatch("c", first);  // before it watches again
  EXPECT_FALSE(desk_.leases.Claim("c", "another's").ok());
  const ActorBook::WatchId second = desk_.leases.BeginWatch("c", "mine");
  EXPECT_NE(second, first);
  desk_.leases.EndWatch("c", first);  // and after
  EXPECT_FALSE(desk_.leases.Claim("c", "another's").ok());
  desk_.leases.EndWatch("c", second);
  EXPECT_TRUE(desk_.leases.Claim("c", "another's").ok());
}

// The connection of a process that was killed may look alive for long: nobody would work on what it is given.
TEST_F(LeaseDeskTest, WaitsOfAnEarlierSessionTakeNothingFromTheNext) {
  ASSERT_TRUE(desk_.leases.Claim("c", "first").ok());
  desk_.leases.Register("c", /*has_model=*/true);
  const auto old = BeginWait("c"), others = BeginWait("a");
  ASSERT_TRUE(desk_.leases.Claim("c", "first").ok());
  EXPECT_EQ(*old, std::nullopt);  // the same process, back
  clock_.Advance(ActorBook::kGone);
  ASSERT_TRUE(desk_.leases.Claim("c", "second").ok());
  EXPECT_EQ(*others, std::nullopt);
  ASSERT_TRUE(*old);
  EXPECT_EQ((*old)->code(), absl::StatusCode::kFailedPrecondition);
  desk_.leases.Register("c", /*has_model=*/true);
  Offer({0, 1});  // one of them for the other actor, which waits still
  const auto answer = AcquireLease(desk_.leases, "c", kForEver);
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_TRUE(answer->has_lease());
}

TEST_F(LeaseDeskTest, WaitsOfASessionThatLeftTakeNothingFromTheNext) {
  ASSERT_TRUE(desk_.leases.Claim("c", "first").ok());
  desk_.leases.Register("c", /*has_model=*/true);
  const auto old = BeginWait("c");
  desk_.leases.Leave("c");
  ASSERT_TRUE(desk_.leases.Claim("c", "second").ok());
  ASSERT_TRUE(*old);
  EXPECT_EQ((*old)->code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(LeaseDeskTest, ForgetsAnActorThatLeavesAndGivesWhatItHeldToOthers) {
  Offer({0});
  ASSERT_TRUE(Acquire("a"));
  desk_.leases.Leave("a");
  desk_.leases.Leave("a");
  EXPECT_EQ(desk_.board.status().actors_size(), 1);
  EXPECT_EQ(Acquire("b")->attempt(), 2u);
  EXPECT_EQ(AcquireLease(desk_.leases, "a", kForEver).status().code(), absl::StatusCode::kFailedPrecondition);
}

// ---- what the log tells of actors

class LeaseDeskNewsTest : public testing::Test {
 protected:
  LeaseDeskNewsTest() : desk_(Options()) {}

  LeaseDesk::Options Options() {
    LeaseDesk::Options options = SmallDeskOptions();
    options.leases.max_attempts = 100;
    options.clock = &clock_;
    options.tell = [this](bool is_trouble, const std::string& line) {
      absl::MutexLock lock(&mutex_);
      lines_.push_back((is_trouble ? "! " : "") + line);
    };
    return options;
  }

  void Join(const std::string& actor) {
    ASSERT_TRUE(desk_.leases.Claim(actor, actor).ok());
    desk_.leases.Register(actor, /*has_model=*/true);
  }
  // What was told since the last call, once there are that many lines.
  std::vector<std::string> Lines(size_t count) {
    const auto has = [this, count]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return lines_.size() >= count; };
    absl::MutexLock lock(&mutex_);
    EXPECT_TRUE(mutex_.AwaitWithTimeout(absl::Condition(&has), absl::Minutes(1)));
    return std::exchange(lines_, {});
  }
  static v1::RenewLeasesRequest Heartbeat(const std::string& actor) {
    v1::RenewLeasesRequest request;
    request.set_actor_id(actor);
    return request;
  }

  ManualClock clock_;
  absl::Mutex mutex_;
  std::vector<std::string> lines_ ABSL_GUARDED_BY(mutex_);
  SmallDesk desk_;
};

TEST_F(LeaseDeskNewsTest, ActorsComeLoadJoinAndLeave) {
  ASSERT_TRUE(desk_.leases.Claim("a", "1").ok());
  desk_.leases.Register("a", /*has_model=*/false);
  ASSERT_TRUE(desk_.leases.Claim("a", "1").ok());
  desk_.leases.Register("a", /*has_model=*/true);
  Join("b");
  desk_.leases.Leave("a");
  EXPECT_THAT(Lines(4), ElementsAre("actor a is here and loads its model", "actor a joined: 1 actor works",
                                    "actor b joined: 2 actors work", "actor a left after 0 groups; 1 actor works"));
}

TEST_F(LeaseDeskNewsTest, AnActorThatComesAgainLosesWhatItHad) {
  Join("a");
  desk_.leases.Offer({SmallLease(0), SmallLease(1)});
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(AcquireLease(desk_.leases, "a", kForEver)->has_lease());
  Join("a");
  EXPECT_THAT(Lines(2), ElementsAre("actor a joined: 1 actor works",
                                    "actor a registered again; 2 groups that it had begun are begun anew"));
}

TEST_F(LeaseDeskNewsTest, ASilentActorIsLostOnceAndComesBack) {
  Join("a");
  Join("b");
  clock_.Advance(ActorBook::kGone - absl::Seconds(1));
  ASSERT_TRUE(desk_.leases.Renew(Heartbeat("b")).ok());
  clock_.Advance(absl::Seconds(1));
  ASSERT_TRUE(desk_.leases.Renew(Heartbeat("b")).ok());
  EXPECT_THAT(Lines(3), ElementsAre(testing::_, testing::_,
                                    "! actor a is lost: not heard of for 10s, after 0 groups; 1 actor works"));
  clock_.Advance(absl::Seconds(5));
  ASSERT_TRUE(desk_.leases.Renew(Heartbeat("b")).ok());
  ASSERT_TRUE(desk_.leases.Renew(Heartbeat("a")).ok());
  EXPECT_THAT(Lines(1), ElementsAre("actor a is back"));
}

TEST_F(LeaseDeskNewsTest, NamesFailuresAndWhoIsSetAside) {
  Join("a");
  Lines(1);
  desk_.leases.Offer({SmallLease(7)});
  for (uint32_t attempt = 1; attempt <= 3; ++attempt) {
    ASSERT_TRUE(AcquireLease(desk_.leases, "a", kForEver)->has_lease());
    ASSERT_TRUE(desk_.leases.Fail(Failure("a", 7, attempt, "reward_failed", "no server")).ok());
  }
  EXPECT_THAT(Lines(4),
              ElementsAre("! group 7 (prompt \"a sign\"), attempt 1, failed: reward_failed (actor a): no server",
                          HasSubstr("attempt 2"), HasSubstr("attempt 3"),
                          HasSubstr("! set aside: actor a failed 3 groups in a row, last: reward_failed")));
}

TEST_F(LeaseDeskNewsTest, WarnsOfAnActorThatReachesNoRewardServerUntilItMakesAGroup) {
  ASSERT_TRUE(desk_.policies.Publish(SmallAdapter(1), v1::BEHAVIOUR_POLICY, 0).ok());
  Join("a");
  Lines(1);
  desk_.leases.Offer({SmallLease(7)});
  for (uint32_t attempt = 1; attempt <= 3; ++attempt) {
    ASSERT_TRUE(AcquireLease(desk_.leases, "a", kForEver)->has_lease());
    ASSERT_TRUE(desk_.leases.Fail(Failure("a", 7, attempt, attempt < 3 ? "reward_unreachable" : "actor_stopping",
                                   "no server at 10.0.0.1:50052", /*is_handed_back=*/true))
                    .ok());
  }
  const std::string warning = "actor a hands its groups back: no server at 10.0.0.1:50052";
  EXPECT_THAT(desk_.board.status().warnings(), ElementsAre(warning));
  Join("b");
  EXPECT_THAT(Lines(2), ElementsAre("! " + warning, HasSubstr("actor b joined")));  // once, however often it does so
  EXPECT_EQ(desk_.leases.exhausted(), std::nullopt);

  const SmallGroup group = MakeSmallGroup(AcquireLease(desk_.leases, "a", kForEver)->lease(),
                                          desk_.policies.Find(1)->header.policy(), "a");
  ASSERT_TRUE(desk_.leases.Accept(group.header, group.blob).ok());
  EXPECT_THAT(desk_.board.status().warnings(), IsEmpty());
}

TEST_F(LeaseDeskNewsTest, TellsNothingOfActorsThatAreSentHome) {
  Join("a");
  Lines(1);
  desk_.leases.Stop(/*is_run_finished=*/true);
  desk_.leases.Leave("a");
  desk_.leases.Register("b", true);
  absl::MutexLock lock(&mutex_);
  EXPECT_THAT(lines_, IsEmpty());
}

// Folders may be named by any bytes; a status with such a name is read by nobody.
TEST_F(LeaseDeskTest, EveryTextOfTheStatusIsUtf8) {
  desk_.board.Update([](v1::Status& status) {
    status.set_run_dir("runs/caf\xe9");
    status.set_message("no room in runs/caf\xe9");
    status.set_last_checkpoint("runs/caf\xe9/checkpoints/update-000001");
    status.add_warnings("\xff");
  });
  v1::Status read;
  ASSERT_TRUE(read.ParseFromString(desk_.board.status().SerializeAsString()));
  EXPECT_EQ(read.run_dir(), "runs/caf\uFFFD");
  desk_.leases.Pause("runs/caf\xe9 is full");
  ASSERT_TRUE(read.ParseFromString(desk_.board.status().SerializeAsString()));
  EXPECT_EQ(read.message(), "runs/caf\uFFFD is full");
}

TEST_F(LeaseDeskTest, TakesNoGroupFromAnActorThatNeverHeldItsLease) {
  Offer({0, 1});
  const auto lease = Acquire("a");
  ASSERT_TRUE(lease);
  EXPECT_EQ(Submit(desk_, Make(desk_, *lease, "b")).code(), absl::StatusCode::kPermissionDenied);
  v1::Lease offered = SmallLease(1);
  offered.set_attempt(1);
  EXPECT_EQ(Submit(desk_, Make(desk_, offered, "a")).code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(desk_.leases.dropped(), ElementsAre(Pair("not_leased", 2)));
  EXPECT_TRUE(Submit(desk_, Make(desk_, *lease, "a")).ok());
}

// ---- swapping rewards

v1::RewardSpec NewSpec() {
  v1::RewardSpec spec = SmallLease(0).reward_spec();
  spec.set_version(2);
  return spec;
}

TEST_F(LeaseDeskTest, ASwapReachesLeasesThatWereOfferedAndEvenHeld) {
  Offer({0, 1});
  const auto held = Acquire("a");
  EXPECT_EQ(desk_.leases.SetRewardSpec(NewSpec()), 1u);
  EXPECT_EQ(desk_.board.status().reward_spec().from_update(), 1u);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(Acquire("b")->reward_spec().version(), 2u);
  EXPECT_EQ(Renew(desk_, "a", {*held})->dropped_size(), 1);
}

TEST_F(LeaseDeskTest, ASwapLeavesABatchWholeThatIsScoredInPart) {
  Offer({0, 1});
  ASSERT_TRUE(Submit(desk_, Make(desk_, *Acquire("a"))).ok());
  EXPECT_EQ(desk_.leases.SetRewardSpec(NewSpec()), 2u);
  const auto second = Acquire("a");
  EXPECT_EQ(second->reward_spec().version(), 1u);
  ASSERT_TRUE(Submit(desk_, Make(desk_, *second)).ok());
  EXPECT_THAT(Ids(desk_.leases.WaitForBatch(1)), ElementsAre(0, 1));
}

// A batch that the run loop has taken is trained on under its own spec, whatever comes meanwhile.
TEST_F(LeaseDeskTest, ASwapCountsFromTheFirstUpdateThatNoGroupOfTheOldSpecIsLeftFor) {
  Offer({0, 1, 2, 3});
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(Submit(desk_, Make(desk_, *Acquire("a"))).ok());
  ASSERT_THAT(Ids(desk_.leases.WaitForBatch(1)), ElementsAre(0, 1));
  EXPECT_EQ(desk_.leases.SetRewardSpec(NewSpec()), 2u) << "update 1 is being made";
  ASSERT_TRUE(Submit(desk_, Make(desk_, *Acquire("a"))).ok());
  v1::RewardSpec third = NewSpec();
  third.set_version(3);
  EXPECT_EQ(desk_.leases.SetRewardSpec(third), 3u) << "update 2 is of the second";
}
TEST_F(LeaseDeskTest, ARunThatIsStuckUnderAnOldSpecIsRemediedByASwapBeforeOrAfter) {
  for (const bool is_swapped_first : {true, false}) {
    SmallDesk desk(Options(0));
    SetUpDesk(desk);
    desk.leases.Offer({SmallLease(0), SmallLease(1)});
    ASSERT_TRUE(Submit(desk, Make(desk, *Acquire("a", &desk))).ok());
    if (is_swapped_first) desk.leases.SetRewardSpec(NewSpec());
    for (const char* actor : {"a", "b"}) {
      const auto lease = Acquire(actor, &desk);
      ASSERT_TRUE(lease);
      ASSERT_TRUE(desk.leases.Fail(Failure(actor, lease->group_id(), lease->attempt(), "reward_failed")).ok());
    }
    ASSERT_TRUE(desk.leases.exhausted());
    if (!is_swapped_first) {
      EXPECT_EQ(desk.leases.WaitForBatch(1), std::nullopt);
      desk.leases.SetRewardSpec(NewSpec());
      desk.leases.Resume();
    }
    if (!is_swapped_first) {
      EXPECT_EQ(desk.leases.WaitForBatch(1), std::nullopt);  // of resuming
    }
    auto batch = std::async(std::launch::async, [&desk] { return desk.leases.WaitForBatch(1); });
    for (int i = 0; i < 2; ++i) {
      const auto answer = AcquireLease(desk.leases, "a", kForEver);
      ASSERT_TRUE(answer.ok() && answer->has_lease());
      EXPECT_EQ(answer->lease().reward_spec().version(), 2u);
      ASSERT_TRUE(Submit(desk, Make(desk, answer->lease())).ok());
    }
    EXPECT_THAT(Ids(batch.get()), ElementsAre(0, 1));
    EXPECT_EQ(desk.leases.exhausted(), std::nullopt);
  }
}

// ---- granting and waiting

TEST_F(LeaseDeskTest, AWaitingActorGetsALeaseAsSoonAsThereIsOne) {
  auto waiting = std::async(std::launch::async, [this] { return AcquireLease(desk_.leases, "a", kForEver); });
  Offer({5});
  const auto answer = waiting.get();
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->lease().group_id(), 5u);
  EXPECT_EQ(answer->lease().reward_spec().terms(0).endpoint(), "127.0.0.1:7000");  // the term names none
}

// On the machine's clock: nothing but the expiry itself can end this wait.
TEST(LeaseDeskExpiryTest, AWaitingActorGetsALeaseThatExpiresThoughNothingElseHappens) {
  LeaseDesk::Options options = SmallDeskOptions();
  options.leases.timeout = absl::Milliseconds(20);
  SmallDesk desk(options);
  desk.leases.Register("dead", true);
  desk.leases.Register("alive", true);
  desk.leases.Offer({SmallLease(0)});
  ASSERT_TRUE(AcquireLease(desk.leases, "dead", kForEver)->has_lease());
  const auto answer = AcquireLease(desk.leases, "alive", kForEver);
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->lease().attempt(), 2u);
}

TEST(LeaseDeskExpiryTest, TheRunLoopSeesThatALeaseIsLostTooOftenThoughNobodyAsksForLeases) {
  LeaseDesk::Options options = SmallDeskOptions();
  options.leases.timeout = absl::Milliseconds(20);
  SmallDesk desk(options);
  desk.leases.Register("a", true);
  desk.leases.Offer({SmallLease(0)});
  for (uint32_t loss = 1; loss < LeaseBook::kLossesPerAttempt * options.leases.max_attempts; ++loss) {
    ASSERT_TRUE(AcquireLease(desk.leases, "a", kForEver)->has_lease());
    desk.leases.Register("a", true);
  }
  ASSERT_TRUE(AcquireLease(desk.leases, "a", kForEver)->has_lease());
  EXPECT_EQ(desk.leases.WaitForBatch(1), std::nullopt);
  ASSERT_TRUE(desk.leases.exhausted());
  EXPECT_THAT(*desk.leases.exhausted(), HasSubstr("lost 6 times"));
}

TEST_F(LeaseDeskTest, HeartbeatsKeepALeaseAndSilenceLosesIt) {
  Offer({0});
  const auto lease = Acquire("a");
  ASSERT_TRUE(lease);
  clock_.Advance(kTimeout - absl::Seconds(1));
  const auto renewed = Renew(desk_, "a", {*lease});
  ASSERT_TRUE(renewed.ok());
  EXPECT_THAT(renewed->dropped(), IsEmpty());
  clock_.Advance(kTimeout - absl::Seconds(1));
  EXPECT_FALSE(Acquire("b"));
  clock_.Advance(absl::Seconds(1));
  EXPECT_TRUE(Acquire("b"));
  const auto late = Renew(desk_, "a", {*lease});
  ASSERT_EQ(late->dropped_size(), 1);
  EXPECT_EQ(late->dropped(0).group_id(), 0u);
}

TEST_F(LeaseDeskTest, GrantsNothingToACallThatWasCancelled) {
  Offer({0});
  desk_.leases.Pause("so that it waits");
  absl::Status status;
  const WaitTicket ticket = desk_.leases.Acquire("a", kForEver, [&status](auto answer) { status = answer.status(); });
  desk_.leases.CancelWait(ticket);
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
  desk_.leases.Resume();
  EXPECT_EQ(desk_.board.status().open_leases(), 0u);
  desk_.leases.CancelWait(ticket);  // has ended: nothing happens
  EXPECT_TRUE(Acquire("b"));
}

TEST_F(LeaseDeskTest, GrantsInTheOrderInWhichActorsBeganToWait) {
  std::vector<std::future<absl::StatusOr<v1::AcquireLeaseResponse>>> answers;
  for (int i = 0; i < 6; ++i) {
    auto promise = std::make_shared<std::promise<absl::StatusOr<v1::AcquireLeaseResponse>>>();
    answers.push_back(promise->get_future());
    desk_.leases.Acquire(i % 2 == 0 ? "a" : "b", kForEver,
                         [promise](auto answer) { promise->set_value(std::move(answer)); });
  }
  Offer({0, 1, 2, 3, 4, 5});
  for (uint64_t i = 0; i < 6; ++i) EXPECT_EQ(answers[i].get()->lease().group_id(), i);
}

TEST_F(LeaseDeskTest, BoundsTheWaitsOfOneActor) {
  for (int i = 0; i < LeaseDesk::kMaxWaitsOfAnActor; ++i) desk_.leases.Acquire("a", kForEver, [](auto) {});
  EXPECT_EQ(AcquireLease(desk_.leases, "a", kForEver).status().code(), absl::StatusCode::kResourceExhausted);
  auto other = std::async(std::launch::async, [this] { return AcquireLease(desk_.leases, "b", kForEver); });
  Offer({0, 1, 2, 3, 4});
  EXPECT_TRUE(other.get()->has_lease());
}

TEST_F(LeaseDeskTest, AnswersAWaitWhoseTimeIsOver) {
  const auto answer = AcquireLease(desk_.leases, "a", absl::Milliseconds(5));
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_FALSE(answer->has_lease());
}

TEST_F(LeaseDeskTest, GrantsNothingWhilePausedAndGoesOnWhenResumed) {
  Offer({0});
  desk_.leases.Pause("for a test");
  EXPECT_TRUE(desk_.leases.is_paused());
  EXPECT_FALSE(Acquire("a"));
  auto waiting = std::async(std::launch::async, [this] { return AcquireLease(desk_.leases, "a", kForEver); });
  desk_.leases.Resume();
  EXPECT_TRUE(waiting.get()->has_lease());
}

TEST_F(LeaseDeskTest, ShowsPausedWhateverTheRunLoopDoesMeanwhile) {
  const auto set_phase = [this](v1::RunPhase phase, const std::string& message) {
    desk_.board.Update([&](v1::Status& status) {
      status.set_phase(phase);
      status.set_message(message);
    });
  };
  desk_.leases.Pause("why");
  set_phase(v1::EVALUATING_BASE, "evaluating");
  EXPECT_EQ(desk_.board.status().phase(), v1::PAUSED);
  EXPECT_EQ(desk_.board.status().message(), "why");
  desk_.leases.Resume();
  EXPECT_EQ(desk_.board.status().phase(), v1::EVALUATING_BASE);
  EXPECT_EQ(desk_.board.status().message(), "evaluating");
  desk_.leases.Pause("why");
  set_phase(v1::FINISHED, "");
  EXPECT_EQ(desk_.board.status().phase(), v1::FINISHED);
}

TEST_F(LeaseDeskTest, EvaluationGoesFirst) {
  Offer({0, kEvaluation});
  EXPECT_EQ(Acquire("a")->group_id(), kEvaluation);
  EXPECT_EQ(Acquire("a")->group_id(), 0u);
}

TEST_F(LeaseDeskTest, StopEndsEveryWait) {
  desk_.leases.Pause("for a test");
  std::vector<std::future<void>> waits;
  const auto start = [&waits](auto wait) { waits.push_back(std::async(std::launch::async, wait)); };
  start([this] { EXPECT_FALSE(AcquireLease(desk_.leases, "a", kForEver)->has_lease()); });
  start([this] { EXPECT_EQ(AwaitBehaviour(desk_.policies, 1), nullptr); });
  start([this] {
    uint64_t seen = 0;
    while (!desk_.leases.is_stopped()) AwaitStatus(desk_.board, &seen, kForEver);
  });
  start([this] {
    while (!desk_.leases.is_stopped()) EXPECT_FALSE(desk_.leases.WaitForBatch(1));
  });
  start([this] {
    while (!desk_.leases.is_stopped()) EXPECT_FALSE(desk_.leases.WaitForEvaluation(1));
  });
  start([this] {
    while (!desk_.leases.is_stopped()) desk_.leases.WaitWhilePaused();
  });
  desk_.Stop();
  for (std::future<void>& wait : waits) wait.get();
}

TEST_F(LeaseDeskTest, AnInterruptEndsOneWaitOfTheRunLoop) {
  desk_.leases.Interrupt();
  EXPECT_EQ(desk_.leases.WaitForBatch(1), std::nullopt);
  desk_.leases.Interrupt();
  EXPECT_EQ(desk_.leases.WaitForEvaluation(1), std::nullopt);
  desk_.leases.Pause("for a test");  // interrupts as well
  desk_.leases.WaitWhilePaused();
  EXPECT_TRUE(desk_.leases.is_paused());
  auto waiting = std::async(std::launch::async, [this] { desk_.leases.WaitWhilePaused(); });
  desk_.leases.Resume();
  waiting.get();

  EXPECT_EQ(desk_.leases.WaitForBatch(1), std::nullopt);  // of resuming
  Offer({0, 1});
  DeliverAll();
  EXPECT_THAT(Ids(desk_.leases.WaitForBatch(1)), ElementsAre(0, 1));
}

// ---- attempts that come to nothing

TEST_F(LeaseDeskTest, PausesTheRunAfterFailuresButNotAfterLeasesHandedBack) {
  Offer({0});
  for (int i = 0; i < 10; ++i) {
    const auto lease = Acquire("a");
    ASSERT_TRUE(lease);
    ASSERT_TRUE(Fail("a", *lease, /*is_handed_back=*/true).ok());
  }
  EXPECT_EQ(desk_.leases.exhausted(), std::nullopt);
  for (const auto& [actor, other] : {std::pair("a", "b"), std::pair("b", "a")}) {
    const auto lease = Acquire(actor);
    ASSERT_TRUE(lease);
    EXPECT_EQ(Fail(other, *lease, false).code(), absl::StatusCode::kNotFound);
    ASSERT_TRUE(Fail(actor, *lease, false).ok());
  }
  EXPECT_THAT(desk_.leases.dropped(), ElementsAre(Pair("actor_stopping", 10), Pair("reward_failed", 2)));
  ASSERT_TRUE(desk_.leases.exhausted());
  EXPECT_THAT(*desk_.leases.exhausted(), HasSubstr("reward_failed (actor b): scripted"));
  EXPECT_EQ(desk_.leases.WaitForBatch(1), std::nullopt);
  EXPECT_EQ(desk_.leases.WaitForEvaluation(1), std::nullopt);
  EXPECT_FALSE(Acquire("a"));

  desk_.leases.Resume();
  EXPECT_EQ(desk_.leases.exhausted(), std::nullopt);
  EXPECT_TRUE(Acquire("a"));
}

// ---- groups

TEST_F(LeaseDeskTest, TakesAGroupOnce) {
  Offer({0, 1});
  const auto first = Acquire("a"), second = Acquire("b");
  ASSERT_TRUE(first && second);
  ASSERT_TRUE(Submit(desk_, Make(desk_, *second, "b")).ok());
  ASSERT_TRUE(Submit(desk_, Make(desk_, *first)).ok());
  EXPECT_EQ(Submit(desk_, Make(desk_, *first)).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(desk_.leases.Accept(Make(desk_, *first).header, Make(desk_, *first).blob).code(),
            absl::StatusCode::kAlreadyExists);
  v1::Status status = desk_.board.status();
  EXPECT_EQ(status.groups_accepted(), 2u);
  EXPECT_EQ(status.samples_accepted(), 2 * kSmallSamples);
  EXPECT_EQ(status.batch_groups(), 2u);

  EXPECT_THAT(Ids(desk_.leases.WaitForBatch(1)), ElementsAre(0, 1));
  EXPECT_EQ(desk_.leases.consumed().next_group, 2u);
  EXPECT_EQ(Submit(desk_, Make(desk_, *first)).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(desk_.leases.dropped(), ElementsAre(Pair("duplicate", 3)));
  EXPECT_EQ(desk_.board.status().batch_groups(), 0u);
}

TEST_F(LeaseDeskTest, AResumedRunTakesNoGroupThatItTrainedOnBefore) {
  LeaseDesk::Options options = Options(1);
  options.next_group = 4;
  options.consumed_groups = {5};
  SmallDesk desk(options);
  SetUpDesk(desk);
  const SmallGroup old = Make(desk, SmallLease(3));
  EXPECT_EQ(Submit(desk, old).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(desk.leases.consumed().next_group, 4u);
  EXPECT_THAT(desk.leases.consumed().above, ElementsAre(5));
}

TEST_F(LeaseDeskTest, RefusesWhatIsWrongAndCountsItByCause) {
  Offer({0, 1});
  const auto lease = Acquire("a");
  ASSERT_TRUE(lease);
  const SmallGroup good = Make(desk_, *lease);
  SmallGroup bad = good;
  bad.header.mutable_lease()->set_group_id(99);
  EXPECT_EQ(Submit(desk_, bad).code(), absl::StatusCode::kNotFound);
  bad = good;
  bad.header.set_policy_sha256("other");
  EXPECT_EQ(Submit(desk_, bad).code(), absl::StatusCode::kFailedPrecondition);
  bad = good;
  bad.blob.resize(bad.blob.size() / 2);
  EXPECT_EQ(Submit(desk_, bad).code(), absl::StatusCode::kInvalidArgument);
  desk_.leases.CountDrop("broken_stream");
  EXPECT_THAT(desk_.leases.dropped(), ElementsAre(Pair("broken_stream", 1), Pair("malformed", 1),
                                                  Pair("unknown_lease", 1), Pair("wrong_digest", 1)));
  EXPECT_EQ(desk_.board.status().groups_accepted(), 0u);
  EXPECT_TRUE(Submit(desk_, good).ok());  // no refusal cost the lease
}

TEST_F(LeaseDeskTest, LeasesAStaleGroupAnewUnderTheNewestVersion) {
  SmallDesk desk(Options(1));
  SetUpDesk(desk);
  desk.leases.Offer({SmallLease(0), SmallLease(1)});
  const auto lease = Acquire("a", &desk);
  ASSERT_TRUE(lease);
  const SmallGroup old = Make(desk, *lease);
  ASSERT_TRUE(Submit(desk, old).ok());
  ASSERT_TRUE(desk.policies.Publish(SmallAdapter(2), v1::BEHAVIOUR_POLICY, 1).ok());
  desk.leases.Interrupt();
  EXPECT_EQ(desk.leases.WaitForBatch(/*oldest_version=*/2), std::nullopt);
  EXPECT_THAT(desk.leases.dropped(), ElementsAre(Pair("stale", 1)));

  const auto again = Acquire("a", &desk);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->group_id(), 0u);
  EXPECT_EQ(again->policy_version(), 2u);
  EXPECT_EQ(again->attempt(), 2u);
  // The old group once more, checked before it was stale, its blob late.
  EXPECT_EQ(desk.leases.Accept(old.header, old.blob).code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(desk.leases.dropped(), ElementsAre(Pair("stale", 2)));
  EXPECT_TRUE(Submit(desk, Make(desk, *again)).ok());
}

TEST_F(LeaseDeskTest, AGroupWhoseRewardsAreSwappedWhileItsBlobTravelsIsNoDuplicate) {
  Offer({0, 1});
  const auto lease = Acquire("a");
  ASSERT_TRUE(lease);
  const SmallGroup group = Make(desk_, *lease);
  ASSERT_TRUE(desk_.leases.CheckSubmission(group.header).ok());
  desk_.leases.SetRewardSpec(NewSpec());
  EXPECT_EQ(desk_.leases.Accept(group.header, group.blob).code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(desk_.leases.dropped(), ElementsAre(Pair("swapped", 1)));
}

// A silent actor's lease outlives its version, which is kept for a few updates only.
TEST_F(LeaseDeskTest, LeasesAnewWhatNobodyMadeWhileItsVersionWasFreshEnough) {
  SmallDesk desk(Options(1));
  SetUpDesk(desk);
  v1::Lease offered = SmallLease(0);
  offered.set_noise_seed(7);
  desk.leases.Offer({offered, SmallLease(1), SmallLease(kEvaluation)});
  ASSERT_EQ(Acquire("a", &desk)->group_id(), kEvaluation);
  const auto held = Acquire("a", &desk);
  ASSERT_TRUE(held);
  const SmallGroup old = Make(desk, *held);
  ASSERT_TRUE(desk.policies.Publish(SmallAdapter(2), v1::BEHAVIOUR_POLICY, 1).ok());
  desk.leases.Interrupt();
  EXPECT_EQ(desk.leases.WaitForBatch(/*oldest_version=*/1), std::nullopt);
  EXPECT_THAT(Renew(desk, "a", {*held})->dropped(), IsEmpty());  // it may be trained on as it is
  for (const uint64_t update : {2, 3}) {
    ASSERT_TRUE(desk.policies.Publish(SmallAdapter(update + 1), v1::BEHAVIOUR_POLICY, update).ok());
    desk.leases.Interrupt();
    EXPECT_EQ(desk.leases.WaitForBatch(/*oldest_version=*/update), std::nullopt);
  }
  ASSERT_EQ(desk.policies.Find(1), nullptr);
  EXPECT_EQ(Renew(desk, "a", {*held})->dropped_size(), 1);
  EXPECT_EQ(Submit(desk, old).code(), absl::StatusCode::kNotFound);  // nothing that its actor did wrong
  EXPECT_THAT(desk.leases.dropped(), ElementsAre(Pair("stale", 1)));
  desk.leases.Register("a", /*has_model=*/true);
  EXPECT_EQ(Acquire("b", &desk)->policy_version(), 1u);  // the evaluation's stays as it was
  for (const uint64_t id : {0, 1}) {
    const auto again = Acquire("b", &desk);
    ASSERT_TRUE(again);
    EXPECT_EQ(again->group_id(), id);
    EXPECT_EQ(again->attempt(), id == 0 ? 2u : 1u);
    EXPECT_EQ(again->noise_seed(), id == 0 ? 7u : 0u);
    EXPECT_GE(again->policy_version(), 3u);
    EXPECT_TRUE(Submit(desk, Make(desk, *again, "b")).ok());
  }
}

TEST_F(LeaseDeskTest, GivesEvaluationGroupsInTheirOrderNotThatOfArrival) {
  Offer({kEvaluation, kEvaluation + 1, kEvaluation + 2});
  std::vector<v1::Lease> leases;
  while (const auto lease = Acquire("a")) leases.push_back(*lease);
  ASSERT_EQ(leases.size(), 3u);
  auto waiting = std::async(std::launch::async, [this] { return desk_.leases.WaitForEvaluation(3); });
  for (const size_t i : {2, 0, 1}) ASSERT_TRUE(Submit(desk_, Make(desk_, leases[i])).ok());
  waiting.wait();
  EXPECT_EQ(desk_.board.status().evaluation_groups_total(), 0u);  // it is over
  EXPECT_THAT(Ids(waiting.get()), ElementsAre(kEvaluation, kEvaluation + 1, kEvaluation + 2));
  EXPECT_EQ(desk_.board.status().groups_accepted(), 0u);  // which counts training groups
}

TEST_F(LeaseDeskTest, KeepsNothingOfAnEvaluationGroupThatIsForTraining) {
  Offer({kEvaluation});
  const auto lease = Acquire("a");
  ASSERT_TRUE(Submit(desk_, Make(desk_, *lease)).ok());
  const auto groups = desk_.leases.WaitForEvaluation(1);
  ASSERT_TRUE(groups.has_value());
  const Group& group = groups->at(0);
  EXPECT_FALSE(group.x0.defined() || group.prompt_embeds.defined() || group.pooled_prompt_embeds.defined());
  EXPECT_TRUE(group.rewards.defined());
}

TEST_F(LeaseDeskTest, TellsHowFarAnEvaluationIs) {
  Offer({kEvaluation, kEvaluation + 1});
  auto waiting = std::async(std::launch::async, [this] { return desk_.leases.WaitForEvaluation(2); });
  const auto first = Acquire("a"), second = Acquire("a");
  ASSERT_TRUE(Submit(desk_, Make(desk_, *first)).ok());
  uint64_t seen = 0;
  v1::Status status = desk_.board.status();
  while (status.evaluation_groups_total() == 0) {  // until the other thread has begun to wait
    status = AwaitStatus(desk_.board, &seen, absl::Milliseconds(10));
  }
  EXPECT_EQ(status.evaluation_groups(), 1u);
  EXPECT_EQ(status.evaluation_groups_total(), 2u);
  ASSERT_TRUE(Submit(desk_, Make(desk_, *second)).ok());
  EXPECT_TRUE(waiting.get().has_value());
}

// ---- policies

TEST_F(LeaseDeskTest, RefusesAnAdoptionOfOtherBytesOrOfTooFewModules) {
  const v1::PolicyVersion policy = desk_.policies.Find(1)->header.policy();
  v1::ReportAdoptionRequest request;
  request.set_actor_id("a");
  request.set_version(1);
  request.set_sha256(policy.sha256());
  request.set_bound_modules(0);
  EXPECT_EQ(desk_.leases.ReportAdoption(request).code(), absl::StatusCode::kFailedPrecondition);
  request.set_bound_modules(policy.modules());
  request.set_sha256("other");
  EXPECT_EQ(desk_.leases.ReportAdoption(request).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(desk_.leases.dropped(), ElementsAre(Pair("adoption_refused", 2)));
  EXPECT_EQ(desk_.board.status().actors(0).adopted_version(), 0u);
  request.set_sha256(policy.sha256());
  EXPECT_TRUE(desk_.leases.ReportAdoption(request).ok());
  EXPECT_EQ(desk_.board.status().actors(0).adopted_version(), 1u);
  request.set_version(7);
  EXPECT_EQ(desk_.leases.ReportAdoption(request).code(), absl::StatusCode::kNotFound);
}

// ---- status

TEST_F(LeaseDeskTest, ShowsTheActorsHeardOfLatelyAndWhereTheirTimeWent) {
  clock_.Advance(ActorBook::kGone - absl::Seconds(1));
  ASSERT_TRUE(Renew(desk_, "a").ok());
  clock_.Advance(absl::Seconds(1));
  const v1::Status status = desk_.board.status();
  ASSERT_EQ(status.actors_size(), 1);
  EXPECT_EQ(status.actors(0).actor_id(), "a");
  EXPECT_EQ(status.actors(0).seconds_since_seen(), 1);
  EXPECT_THAT(desk_.leases.actor_seconds(), ElementsAre(Pair("a", ElementsAre(Pair("sample", 3)))));
}

// A resumed run's counts go on from where they were.
TEST_F(LeaseDeskTest, AddsWhatItCountsToWhatTheRunHadBefore) {
  desk_.board.Update([](v1::Status& status) {
    status.set_groups_accepted(40);
    status.set_samples_accepted(80);
    (*status.mutable_dropped())["too_large"] = 2;
  });
  Offer({0});
  DeliverAll();
  desk_.leases.CountDrop("too_large");
  EXPECT_THAT(desk_.leases.dropped(), ElementsAre(Pair("too_large", 1)));
  EXPECT_EQ(desk_.leases.groups_accepted(), 1u);
  const v1::Status status = desk_.board.status();
  EXPECT_EQ(status.groups_accepted(), 41u);
  EXPECT_EQ(status.samples_accepted(), 80 + kSmallSamples);
  EXPECT_EQ(status.dropped().at("too_large"), 3u);
}

// ---- the end of the run

TEST_F(LeaseDeskTest, TellsEveryActorThatAsksThatTheRunHasFinished) {
  auto waiting = std::async(std::launch::async, [this] { return AcquireLease(desk_.leases, "a", kForEver); });
  desk_.leases.Stop(/*is_run_finished=*/true);
  EXPECT_TRUE(waiting.get()->run_finished());
  EXPECT_TRUE(Renew(desk_, "b")->run_finished());
  EXPECT_TRUE(desk_.leases.Register("latecomer", false));
  EXPECT_TRUE(AcquireLease(desk_.leases, "stranger", kForEver)->run_finished());
}

TEST_F(LeaseDeskTest, WaitsUntilEveryActorWasToldOrIsGone) {
  desk_.leases.Register("loading", false);
  desk_.leases.Register("gone", true);
  clock_.Advance(ActorBook::kGone - absl::Seconds(1));
  for (const char* actor : {"a", "b", "loading"}) ASSERT_TRUE(Renew(desk_, actor).ok());
  desk_.leases.Stop(/*is_run_finished=*/true);
  EXPECT_FALSE(desk_.leases.WaitForActorsToLeave(absl::ZeroDuration()));
  auto waiting = std::async(std::launch::async, [this] { return desk_.leases.WaitForActorsToLeave(kForEver); });
  EXPECT_TRUE(AcquireLease(desk_.leases, "a", kForEver)->run_finished());
  EXPECT_TRUE(Renew(desk_, "loading")->run_finished());
  EXPECT_FALSE(desk_.leases.WaitForActorsToLeave(absl::ZeroDuration()));  // b and "gone", which is not gone yet
  clock_.Advance(absl::Seconds(1));
  EXPECT_TRUE(desk_.leases.Register("b", false));  // it was just reconnecting
  EXPECT_TRUE(waiting.get());
}

TEST_F(LeaseDeskTest, TellsNobodyThatARunIsFinishedThatWasOnlyStopped) {
  desk_.leases.Stop(/*is_run_finished=*/false);
  EXPECT_FALSE(Renew(desk_, "a")->run_finished());
  EXPECT_FALSE(desk_.leases.Register("b", true));
}

}  // namespace
}  // namespace flowawr
