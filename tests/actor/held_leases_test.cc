#include "actor/held_leases.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

namespace flowawr {
namespace {

v1::Lease MakeLease(uint64_t group, uint32_t attempt, v1::LeasePurpose purpose = v1::TRAINING) {
  v1::Lease lease;
  lease.set_group_id(group);
  lease.set_attempt(attempt);
  lease.set_purpose(purpose);
  lease.set_samples(4);
  return lease;
}

v1::LeaseRef Ref(uint64_t group, uint32_t attempt) {
  v1::LeaseRef ref;
  ref.set_group_id(group);
  ref.set_attempt(attempt);
  return ref;
}

TEST(HeldLeases, ListsWhatIsHeldUntilReleased) {
  HeldLeases leases({});
  const uint64_t ticket = leases.Add(MakeLease(7, 2));
  ASSERT_EQ(leases.Refs().size(), 1);
  EXPECT_EQ(leases.Refs()[0].group_id(), 7);
  EXPECT_EQ(leases.Refs()[0].attempt(), 2);
  EXPECT_TRUE(leases.IsHeld(ticket));
  EXPECT_TRUE(leases.Release(ticket));
  EXPECT_FALSE(leases.Release(ticket));
  EXPECT_FALSE(leases.IsHeld(ticket));
  EXPECT_EQ(leases.size(), 0);
}

TEST(HeldLeases, DropsOnlyTheNamedAttempts) {
  HeldLeases leases({});
  const uint64_t old_attempt = leases.Add(MakeLease(7, 1));
  const uint64_t new_attempt = leases.Add(MakeLease(7, 2));
  EXPECT_EQ(leases.Drop({Ref(7, 1), Ref(8, 2)}), 1);
  EXPECT_FALSE(leases.IsHeld(old_attempt));
  EXPECT_TRUE(leases.IsHeld(new_attempt));
}

TEST(HeldLeases, TellsTheSameLeaseOfTwoSessionsApart) {
  HeldLeases leases({});
  const uint64_t before = leases.Add(MakeLease(7, 1));
  leases.Clear();
  const uint64_t after = leases.Add(MakeLease(7, 1));
  EXPECT_FALSE(leases.IsHeld(before));
  EXPECT_TRUE(leases.IsHeld(after));
}

TEST(HeldLeases, HasRoomAgainOnceSamplingBegins) {
  HeldLeases leases({.training_groups = 1});
  const uint64_t ticket = leases.Add(MakeLease(1, 1));
  EXPECT_FALSE(leases.WaitForRoom(absl::ZeroDuration()));
  std::thread sampler([&] { leases.BeginSampling(ticket); });
  EXPECT_TRUE(leases.WaitForRoom(absl::Minutes(1)));
  sampler.join();
  EXPECT_TRUE(leases.IsHeld(ticket));
}

TEST(HeldLeases, CountsEvaluationByRows) {
  HeldLeases leases({.evaluation_rows = 8});
  leases.Add(MakeLease(1, 1, v1::EVALUATION));
  EXPECT_TRUE(leases.WaitForRoom(absl::ZeroDuration()));
  leases.Add(MakeLease(2, 1, v1::EVALUATION));
  EXPECT_FALSE(leases.WaitForRoom(absl::ZeroDuration()));
}

}  // namespace
}  // namespace flowawr
