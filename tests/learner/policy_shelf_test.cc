#include "learner/policy_shelf.h"

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <memory>

#include "tests/learner/small_run.h"

namespace flowawr {
namespace {

v1::PolicyVersion PolicyOf(const std::shared_ptr<const StoredPolicy>& stored) { return stored->header.policy(); }

class PolicyShelfTest : public testing::Test {
 protected:
  uint64_t Publish(uint64_t seed, v1::PolicyRole role = v1::BEHAVIOUR_POLICY) {
    const auto stored = shelf_.Publish(SmallAdapter(seed), role, /*update=*/seed);
    EXPECT_TRUE(stored.ok()) << stored.status();
    return PolicyOf(*stored).version();
  }

  PolicyShelf shelf_{{.next_version = 1, .keep = 2}};
};

TEST_F(PolicyShelfTest, NumbersVersionsOfAllRolesAndKeepsTheNewest) {
  EXPECT_EQ(shelf_.newest_behaviour(), nullptr);
  for (uint64_t seed = 1; seed <= 3; ++seed) EXPECT_EQ(Publish(seed), seed);
  EXPECT_EQ(Publish(4, v1::AVERAGE_POLICY), 4u);
  EXPECT_EQ(Publish(5, v1::AVERAGE_POLICY), 5u);
  EXPECT_EQ(shelf_.next_version(), 6u);
  EXPECT_EQ(PolicyOf(shelf_.newest_behaviour()).version(), 3u);
  for (const uint64_t kept : {2, 3, 5}) EXPECT_NE(shelf_.Find(kept), nullptr) << kept;
  for (const uint64_t dropped : {1, 4}) EXPECT_EQ(shelf_.Find(dropped), nullptr) << dropped;
}

TEST_F(PolicyShelfTest, KeepsACopyThatLaterUpdatesDoNotChange) {
  LoraAdapter adapter = SmallAdapter(1);
  const auto stored = shelf_.Publish(adapter, v1::BEHAVIOUR_POLICY, 7);
  adapter.flat().zero_();
  EXPECT_EQ((*stored)->bytes, SmallAdapter(1).SerializePeft().value());
  EXPECT_EQ((*stored)->adapter.SerializePeft().value(), (*stored)->bytes);
  EXPECT_EQ(PolicyOf(*stored).update(), 7u);
  EXPECT_EQ(PolicyOf(*stored).size(), (*stored)->bytes.size());
}

TEST_F(PolicyShelfTest, AWatchIsGivenOnlyWhatIsNewer) {
  Publish(1);
  EXPECT_EQ(PolicyOf(AwaitBehaviour(shelf_, 0)).version(), 1u);
  auto waiting = std::async(std::launch::async, [this] { return AwaitBehaviour(shelf_, 1); });
  Publish(2, v1::AVERAGE_POLICY);  // is no behaviour
  Publish(3);
  EXPECT_EQ(PolicyOf(waiting.get()).version(), 3u);
}

TEST_F(PolicyShelfTest, AWaitEndsWhenItIsCancelledOrTheShelfStops) {
  absl::Status ended;
  const WaitTicket ticket = shelf_.AwaitBehaviour(0, [&](auto given) { ended = given.status(); });
  shelf_.CancelWait(ticket);
  EXPECT_EQ(ended.code(), absl::StatusCode::kCancelled);
  shelf_.CancelWait(ticket);  // has ended: nothing happens
  auto waiting = std::async(std::launch::async, [this] { return AwaitBehaviour(shelf_, 0); });
  shelf_.Stop();
  EXPECT_EQ(waiting.get(), nullptr);
  EXPECT_EQ(AwaitBehaviour(shelf_, 0), nullptr);
}

TEST_F(PolicyShelfTest, ChecksThatAnActorBoundWhatWasPublished) {
  Publish(1);
  v1::ReportAdoptionRequest request;
  request.set_actor_id("a");
  request.set_version(1);
  request.set_sha256(PolicyOf(shelf_.Find(1)).sha256());
  EXPECT_EQ(shelf_.CheckAdoption(request).code(), absl::StatusCode::kFailedPrecondition) << "no module is bound";
  request.set_bound_modules(PolicyOf(shelf_.Find(1)).modules());
  EXPECT_TRUE(shelf_.CheckAdoption(request).ok());
  request.set_sha256("other");
  EXPECT_EQ(shelf_.CheckAdoption(request).code(), absl::StatusCode::kFailedPrecondition);
  request.set_version(7);
  EXPECT_EQ(shelf_.CheckAdoption(request).code(), absl::StatusCode::kNotFound);
}

// Were the lock held while a version is made, none of these calls would return before it is.
TEST(PolicyShelfLockTest, AnswersEveryCallWhileAVersionIsMade) {
  std::unique_ptr<PolicyShelf> shelf;
  std::future<void> calls;
  shelf = std::make_unique<PolicyShelf>(PolicyShelf::Options{
      .make = [&](const LoraAdapter& adapter, v1::PolicyRole role, uint64_t update) {
        calls = std::async(std::launch::async, [&shelf] {
          EXPECT_EQ(shelf->Find(1), nullptr);
          EXPECT_EQ(shelf->newest_behaviour(), nullptr);
          EXPECT_EQ(shelf->next_version(), 1u);
          EXPECT_FALSE(shelf->CheckAdoption(v1::ReportAdoptionRequest()).ok());
          shelf->CancelWait(shelf->AwaitBehaviour(0, [](auto) {}));
        });
        EXPECT_EQ(calls.wait_for(std::chrono::minutes(1)), std::future_status::ready);
        return MakeStoredPolicy(adapter, role, update);
      }});
  EXPECT_TRUE(shelf->Publish(SmallAdapter(1), v1::BEHAVIOUR_POLICY, 0).ok());
  calls.get();
}

}  // namespace
}  // namespace flowawr
