#include "learner/lease_book.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "learner/group.h"

namespace flowawr {
namespace {

constexpr absl::Time kStart = absl::UnixEpoch();
constexpr absl::Duration kTimeout = absl::Seconds(10);
constexpr uint64_t kEvaluation = kEvaluationGroupBit;

v1::Lease LeaseOf(uint64_t id) {
  v1::Lease lease;
  lease.set_group_id(id);
  lease.set_purpose(IsEvaluationGroup(id) ? v1::EVALUATION : v1::TRAINING);
  lease.mutable_prompt()->set_text("a sign");
  lease.set_noise_seed(77);
  lease.set_policy_version(5);
  return lease;
}

v1::LeaseRef Ref(uint64_t id, uint32_t attempt) {
  v1::LeaseRef ref;
  ref.set_group_id(id);
  ref.set_attempt(attempt);
  return ref;
}

class LeaseBookTest : public testing::Test {
 protected:
  // The id granted, or 0 when nothing was.
  uint64_t Grant(v1::LeasePurpose preferred = v1::TRAINING, const std::string& actor = "a", absl::Time now = kStart) {
    const auto lease = book_.Grant(actor, preferred, now);
    return lease ? lease->group_id() : 0;
  }

  LeaseBook book_{{.timeout = kTimeout, .max_attempts = 2}};
};

TEST_F(LeaseBookTest, GrantsTheSmallestIdFirstWhateverTheOrderOfOffers) {
  for (const uint64_t id : {3, 1, 2}) book_.Offer(LeaseOf(id));
  EXPECT_EQ(Grant(), 1u);
  EXPECT_EQ(Grant(), 2u);
  EXPECT_EQ(Grant(), 3u);
  EXPECT_EQ(Grant(), 0u);
  EXPECT_FALSE(book_.HasWaiting());
  EXPECT_EQ(book_.granted(), 3u);
}

TEST_F(LeaseBookTest, GrantsThePreferredPurposeElseTheOther) {
  for (const uint64_t id : {kEvaluation + 1, kEvaluation + 2, uint64_t{1}, uint64_t{2}}) book_.Offer(LeaseOf(id));
  EXPECT_EQ(Grant(v1::EVALUATION), kEvaluation + 1);
  EXPECT_EQ(Grant(v1::TRAINING), 1u);
  EXPECT_EQ(Grant(v1::TRAINING), 2u);
  EXPECT_EQ(Grant(v1::TRAINING), kEvaluation + 2);
  book_.Offer(LeaseOf(4));
  EXPECT_EQ(Grant(v1::EVALUATION), 4u);
}

TEST_F(LeaseBookTest, AnExpiredLeaseIsGrantedAgainUnchangedButForItsAttempt) {
  book_.Offer(LeaseOf(1));
  const auto first = book_.Grant("a", v1::TRAINING, kStart);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->attempt(), 1u);
  EXPECT_EQ(first->expires_in_s(), absl::ToDoubleSeconds(kTimeout));
  EXPECT_EQ(book_.NextExpiry(), kStart + kTimeout);

  EXPECT_EQ(book_.Expire(kStart + kTimeout - absl::Milliseconds(1)), 0);
  EXPECT_FALSE(book_.HasWaiting());
  EXPECT_EQ(book_.Expire(kStart + kTimeout), 1);
  EXPECT_EQ(book_.NextExpiry(), std::nullopt);

  auto second = book_.Grant("b", v1::TRAINING, kStart + kTimeout);
  ASSERT_TRUE(second);
  EXPECT_EQ(second->attempt(), 2u);
  second->set_attempt(1);
  EXPECT_EQ(second->SerializeAsString(), first->SerializeAsString());
}

TEST_F(LeaseBookTest, ARenewedLeaseLivesOn) {
  book_.Offer(LeaseOf(1));
  ASSERT_EQ(Grant(), 1u);
  EXPECT_TRUE(book_.Renew("a", {Ref(1, 1)}, kStart + absl::Seconds(6)).empty());
  EXPECT_EQ(book_.Expire(kStart + kTimeout), 0);
  EXPECT_EQ(book_.NextExpiry(), kStart + absl::Seconds(16));
  EXPECT_EQ(book_.Expire(kStart + absl::Seconds(16)), 1);
}

TEST_F(LeaseBookTest, RenewingDropsWhatTheActorDoesNotHoldAndDoesNotProlongIt) {
  for (const uint64_t id : {1, 2, 3, 4}) book_.Offer(LeaseOf(id));
  for (int i = 0; i < 4; ++i) ASSERT_NE(Grant(), 0u);
  book_.Complete(2);
  book_.Withdraw(3);

  const auto dropped = book_.Renew("a", {Ref(1, 1), Ref(2, 1), Ref(3, 1), Ref(4, 2), Ref(99, 1)}, kStart);
  std::vector<uint64_t> ids;
  for (const v1::LeaseRef& ref : dropped) ids.push_back(ref.group_id());
  EXPECT_EQ(ids, (std::vector<uint64_t>{2, 3, 4, 99}));

  EXPECT_EQ(book_.Renew("b", {Ref(1, 1)}, kStart + absl::Seconds(6)).size(), 1u);
  EXPECT_EQ(book_.NextExpiry(), kStart + kTimeout);
}

TEST_F(LeaseBookTest, AnotherVersionTakesALeaseFromItsHolderAndItsAttemptsGoOn) {
  book_.Offer(LeaseOf(1));
  ASSERT_EQ(Grant(), 1u);
  book_.SetPolicyVersion(1, 9);
  EXPECT_EQ(book_.Renew("a", {Ref(1, 1)}, kStart).size(), 1u);
  book_.SetPolicyVersion(1, 10);  // while it waits
  const auto again = book_.Grant("b", v1::TRAINING, kStart);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->policy_version(), 10u);
  EXPECT_EQ(again->attempt(), 2u);
}

TEST_F(LeaseBookTest, OnlyTheHolderOfThatAttemptCanGiveUp) {
  book_.Offer(LeaseOf(1));
  ASSERT_EQ(Grant(), 1u);
  EXPECT_EQ(book_.Fail("b", Ref(1, 1), "no", kStart).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(book_.Fail("a", Ref(1, 2), "no", kStart).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(book_.Fail("a", Ref(9, 1), "no", kStart).code(), absl::StatusCode::kNotFound);
  EXPECT_FALSE(book_.HasWaiting());

  EXPECT_TRUE(book_.Fail("a", Ref(1, 1), "no", kStart).ok());
  EXPECT_TRUE(book_.HasWaiting());
  EXPECT_EQ(book_.Fail("a", Ref(1, 1), "no", kStart).code(), absl::StatusCode::kNotFound);  // it holds it no more
}

TEST_F(LeaseBookTest, AnOlderAttemptIsWelcomeWhileTheLeaseIsOpen) {
  book_.Offer(LeaseOf(1));
  ASSERT_EQ(Grant(v1::TRAINING, "a"), 1u);
  ASSERT_EQ(book_.Expire(kStart + kTimeout), 1);
  EXPECT_EQ(book_.StandingOf(1), LeaseBook::Standing::kOpen);
  ASSERT_EQ(Grant(v1::TRAINING, "b", kStart + kTimeout), 1u);
  EXPECT_EQ(book_.StandingOf(1), LeaseBook::Standing::kOpen);
  ASSERT_NE(book_.Find(1), nullptr);

  book_.Complete(1);  // by a's group; b learns of it with its heartbeat
  EXPECT_EQ(book_.StandingOf(1), LeaseBook::Standing::kCompleted);
  EXPECT_EQ(book_.Find(1), nullptr);
  EXPECT_EQ(book_.Renew("b", {Ref(1, 2)}, kStart + kTimeout).size(), 1u);
  EXPECT_EQ(book_.granted(), 0u);
  EXPECT_EQ(book_.Expire(absl::InfiniteFuture()), 0);
}

TEST_F(LeaseBookTest, ALeaseCompletedWhileItWaitsIsNotGranted) {
  book_.Offer(LeaseOf(1));
  ASSERT_EQ(Grant(), 1u);
  ASSERT_EQ(book_.Expire(kStart + kTimeout), 1);
  book_.Complete(1);
  EXPECT_EQ(Grant(), 0u);
}

TEST_F(LeaseBookTest, TellsCompletedFromUnknown) {
  book_.Offer(LeaseOf(5));
  book_.Offer(LeaseOf(kEvaluation));
  book_.Complete(5);
  book_.Complete(kEvaluation);
  EXPECT_EQ(book_.StandingOf(4), LeaseBook::Standing::kUnknown);
  EXPECT_EQ(book_.StandingOf(5), LeaseBook::Standing::kCompleted);

  book_.ForgetTrainingBelow(6);
  EXPECT_EQ(book_.StandingOf(4), LeaseBook::Standing::kCompleted);
  EXPECT_EQ(book_.StandingOf(5), LeaseBook::Standing::kCompleted);
  EXPECT_EQ(book_.StandingOf(6), LeaseBook::Standing::kUnknown);
  EXPECT_EQ(book_.StandingOf(kEvaluation), LeaseBook::Standing::kCompleted);

  book_.Offer(LeaseOf(kEvaluation));  // the next evaluation
  EXPECT_EQ(book_.StandingOf(kEvaluation), LeaseBook::Standing::kOpen);
  book_.Withdraw(kEvaluation);
  EXPECT_EQ(book_.StandingOf(kEvaluation), LeaseBook::Standing::kUnknown);
}

TEST_F(LeaseBookTest, OfferedAgainItGoesOnCountingAttempts) {
  book_.Offer(LeaseOf(1));
  const auto first = book_.Grant("a", v1::TRAINING, kStart);
  ASSERT_TRUE(first);
  book_.Complete(1);
  v1::Lease again = *first;
  again.set_policy_version(9);
  book_.OfferAgain(again);
  const auto second = book_.Grant("a", v1::TRAINING, kStart);
  ASSERT_TRUE(second);
  EXPECT_EQ(second->attempt(), 2u);
  EXPECT_EQ(second->policy_version(), 9u);
  EXPECT_EQ(book_.Renew("a", {Ref(1, 1)}, kStart).size(), 1u);
}

TEST_F(LeaseBookTest, StopsGrantingAnythingOnceALeaseUsedUpItsAttemptsUntilTheyAreReset) {
  book_.Offer(LeaseOf(1));
  book_.Offer(LeaseOf(2));
  ASSERT_EQ(Grant(), 1u);
  ASSERT_TRUE(book_.Fail("a", Ref(1, 1), "reward server is away", kStart).ok());
  EXPECT_FALSE(book_.exhausted());
  ASSERT_EQ(Grant(), 1u);
  ASSERT_TRUE(book_.Fail("a", Ref(1, 2), "out of memory", kStart).ok());

  ASSERT_TRUE(book_.exhausted());
  for (const char* part : {"group 1 ", "a sign", "2 times", "out of memory"}) {
    EXPECT_NE(book_.exhausted()->find(part), std::string::npos) << *book_.exhausted();
  }
  EXPECT_FALSE(book_.HasWaiting());
  EXPECT_EQ(Grant(), 0u);

  book_.ResetAttempts();
  EXPECT_FALSE(book_.exhausted());
  EXPECT_EQ(Grant(), 1u);
  ASSERT_TRUE(book_.Fail("a", Ref(1, 3), "again", kStart).ok());
  EXPECT_FALSE(book_.exhausted());  // counted from zero
}

TEST_F(LeaseBookTest, HandingBackIsNoFailedAttempt) {
  book_.Offer(LeaseOf(1));
  for (uint32_t attempt = 1; attempt <= 20; ++attempt) {
    ASSERT_EQ(Grant(), 1u);
    ASSERT_TRUE(book_.HandBack("a", Ref(1, attempt)).ok());
    ASSERT_FALSE(book_.exhausted());
  }
  ASSERT_EQ(Grant(), 1u);
  EXPECT_EQ(book_.HandBack("b", Ref(1, 21)).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(book_.HandBack("a", Ref(1, 20)).code(), absl::StatusCode::kNotFound);
  EXPECT_FALSE(book_.HasWaiting());

  ASSERT_TRUE(book_.Fail("a", Ref(1, 21), "out of memory", kStart).ok());
  EXPECT_FALSE(book_.exhausted());  // the first of two failures
}

TEST_F(LeaseBookTest, AnActorsRestartOrSilenceIsNoFailedAttempt) {
  book_.Offer(LeaseOf(1));
  ASSERT_EQ(Grant(), 1u);
  ASSERT_TRUE(book_.Fail("a", Ref(1, 1), "out of memory", kStart).ok());
  ASSERT_EQ(Grant(), 1u);
  EXPECT_EQ(book_.ReleaseActor("a"), 1);
  EXPECT_FALSE(book_.exhausted());
  ASSERT_EQ(Grant(), 1u);
  EXPECT_EQ(book_.Expire(kStart + kTimeout), 1);
  EXPECT_FALSE(book_.exhausted());

  ASSERT_EQ(Grant(), 1u);
  ASSERT_TRUE(book_.Fail("a", Ref(1, 4), "out of memory", kStart).ok());  // the second failure
  EXPECT_TRUE(book_.exhausted());
}

TEST_F(LeaseBookTest, APromptThatKillsEveryActorIsGivenUpInTheEnd) {
  book_.Offer(LeaseOf(1));
  const int most = 2 * LeaseBook::kLossesPerAttempt;
  for (int loss = 1; loss <= most; ++loss) {
    ASSERT_FALSE(book_.exhausted()) << loss;
    ASSERT_EQ(Grant(v1::TRAINING, "a"), 1u);
    if (loss % 2 == 0) {
      ASSERT_EQ(book_.ReleaseActor("a"), 1);
    } else {
      ASSERT_EQ(book_.Expire(kStart + kTimeout), 1);
    }
  }
  ASSERT_TRUE(book_.exhausted());
  for (const char* part : {"group 1 ", "a sign", "lost 6 times", "actor a started again", "logs"}) {
    EXPECT_NE(book_.exhausted()->find(part), std::string::npos) << *book_.exhausted();
  }
  EXPECT_EQ(Grant(), 0u);

  book_.ResetAttempts();
  ASSERT_EQ(Grant(v1::TRAINING, "a"), 1u);
  ASSERT_EQ(book_.ReleaseActor("a"), 1);
  EXPECT_FALSE(book_.exhausted());  // counted from zero
}

TEST_F(LeaseBookTest, AWaitingLeaseHasNoHolderNotEvenANamelessOne) {
  book_.Offer(LeaseOf(1));
  EXPECT_EQ(book_.Fail("", Ref(1, 0), "no", kStart).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(book_.Renew("", {Ref(1, 0)}, kStart).size(), 1u);
  EXPECT_EQ(book_.ReleaseActor(""), 0);
}

TEST_F(LeaseBookTest, AnActorThatRegistersAnewHoldsNothing) {
  for (const uint64_t id : {1, 2, 3}) book_.Offer(LeaseOf(id));
  ASSERT_EQ(Grant(v1::TRAINING, "a"), 1u);
  ASSERT_EQ(Grant(v1::TRAINING, "b"), 2u);
  ASSERT_EQ(Grant(v1::TRAINING, "a"), 3u);
  EXPECT_EQ(book_.ReleaseActor("a"), 2);
  EXPECT_EQ(book_.granted(), 1u);
  EXPECT_TRUE(book_.Renew("b", {Ref(2, 1)}, kStart).empty());
  EXPECT_EQ(book_.Renew("a", {Ref(1, 1), Ref(3, 1)}, kStart).size(), 2u);
}

// ---- spreading attempts over actors

class LeaseBookSpreadTest : public testing::Test {
 protected:
  LeaseBookSpreadTest() { book_.Offer(LeaseOf(1)); }

  // The attempt granted to `actor` of group 1, or 0.
  uint32_t Grant(const std::string& actor, const std::vector<std::string>& others, absl::Time now = kStart) {
    const auto lease = book_.Grant(actor, v1::TRAINING, now, others);
    return lease ? lease->attempt() : 0;
  }
  void GrantAndFail(const std::string& actor, const std::vector<std::string>& others, absl::Time now = kStart) {
    const auto lease = book_.Grant(actor, v1::TRAINING, now, others);
    ASSERT_TRUE(lease);
    ASSERT_TRUE(book_.Fail(actor, Ref(lease->group_id(), lease->attempt()), "wrong address", now).ok());
  }

  LeaseBook book_{{.timeout = absl::Hours(1), .max_attempts = 100}};
};

TEST_F(LeaseBookSpreadTest, AFailedLeaseGoesToAnActorThatHasNotFailedIt) {
  GrantAndFail("bad", {"good"});
  EXPECT_EQ(Grant("bad", {"good"}), 0u);
  EXPECT_EQ(Grant("good", {"bad"}), 2u);
}

TEST_F(LeaseBookSpreadTest, AFailedLeaseComesBackWhenThereIsNobodyElse) {
  GrantAndFail("bad", {});
  EXPECT_EQ(Grant("bad", {}), 2u);
}

TEST_F(LeaseBookSpreadTest, AFailedLeaseComesBackWhenAllHaveFailedIt) {
  GrantAndFail("a", {"b"});
  GrantAndFail("b", {"a"});
  EXPECT_EQ(Grant("a", {"b"}), 3u);
}

TEST_F(LeaseBookSpreadTest, OthersThatAreTooBusyAreNotWaitedForForEver) {
  GrantAndFail("bad", {"busy"});
  ASSERT_EQ(book_.NextExpiry(), kStart + LeaseBook::kPreferOthersFor);
  EXPECT_EQ(book_.Expire(kStart + LeaseBook::kPreferOthersFor), 1);
  EXPECT_EQ(Grant("bad", {"busy"}, kStart + LeaseBook::kPreferOthersFor), 2u);
}

TEST_F(LeaseBookSpreadTest, AnActorThatKeepsFailingIsSetAsideForAGrowingWhile) {
  for (uint64_t id = 2; id < 20; ++id) book_.Offer(LeaseOf(id));
  absl::Time now = kStart;
  for (uint32_t i = 0; i < LeaseBook::kFailuresInARow; ++i) {
    EXPECT_TRUE(book_.ActorsSetAside(now).empty());
    GrantAndFail("bad", {"good"}, now);
  }
  ASSERT_EQ(book_.ActorsSetAside(now).size(), 1u);
  const std::string sentence = book_.ActorsSetAside(now).front();
  EXPECT_NE(sentence.find("actor bad failed 3 groups in a row, last: wrong address"), std::string::npos) << sentence;
  EXPECT_EQ(Grant("bad", {"good"}, now), 0u);
  now += LeaseBook::kFirstTimeAside;
  book_.Expire(now);
  EXPECT_TRUE(book_.ActorsSetAside(now).empty());
  GrantAndFail("bad", {"good"}, now);
  now += 2 * LeaseBook::kFirstTimeAside - absl::Seconds(1);
  book_.Expire(now);
  EXPECT_EQ(Grant("bad", {"good"}, now), 0u);
  EXPECT_NE(Grant("bad", {}, now), 0u);  // better it than nobody
}

TEST_F(LeaseBookSpreadTest, AGroupThatComesInClearsItsActorAndAPromptsFaultIsNotTheActors) {
  for (uint64_t id = 2; id < 20; ++id) book_.Offer(LeaseOf(id));
  for (uint32_t i = 1; i < LeaseBook::kFailuresInARow; ++i) GrantAndFail("a", {"b"});
  book_.Complete(Grant("a", {"b"}) == 0 ? 0 : 3, "a");
  GrantAndFail("a", {"b"});
  EXPECT_TRUE(book_.ActorsSetAside(kStart).empty());
  for (int i = 0; i < 5; ++i) {
    const auto lease = book_.Grant("b", v1::TRAINING, kStart, {});
    ASSERT_TRUE(lease);
    ASSERT_TRUE(book_.Fail("b", Ref(lease->group_id(), lease->attempt()), "no target", kStart, false).ok());
  }
  EXPECT_TRUE(book_.ActorsSetAside(kStart).empty());
}

// ---- who holds what, and under which spec

TEST_F(LeaseBookSpreadTest, KnowsToWhomEachAttemptWasGranted) {
  EXPECT_FALSE(book_.WasGranted("a", Ref(1, 0)));
  GrantAndFail("a", {});
  EXPECT_EQ(Grant("b", {"a"}), 2u);
  EXPECT_TRUE(book_.WasGranted("a", Ref(1, 1)));  // late, and still good
  EXPECT_TRUE(book_.WasGranted("b", Ref(1, 2)));
  EXPECT_FALSE(book_.WasGranted("b", Ref(1, 1)));
  EXPECT_FALSE(book_.WasGranted("c", Ref(1, 2)));
  EXPECT_FALSE(book_.WasGranted("b", Ref(2, 1)));
}

TEST_F(LeaseBookSpreadTest, ANewSpecTakesTheLeaseFromItsHolderAndBeginsItsAttemptsAnew) {
  GrantAndFail("a", {});
  ASSERT_EQ(Grant("a", {}), 2u);
  v1::RewardSpec spec;
  spec.set_version(7);
  book_.SetRewardSpec(1, spec);
  EXPECT_FALSE(book_.IsGranted(1));
  EXPECT_EQ(book_.Renew("a", {Ref(1, 2)}, kStart).size(), 1u);
  const auto lease = book_.Grant("a", v1::TRAINING, kStart, {"b"});
  ASSERT_TRUE(lease);
  EXPECT_EQ(lease->reward_spec().version(), 7u);
  EXPECT_EQ(lease->attempt(), 3u);
}

}  // namespace
}  // namespace flowawr
