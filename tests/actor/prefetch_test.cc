#include "actor/prefetch.h"

#include <gtest/gtest.h>

#include <vector>

namespace flowawr {
namespace {

v1::Lease MakeLease(v1::LeasePurpose purpose, uint32_t samples, uint64_t version = 1, int steps = 8,
                    v1::Solver solver = v1::EULER) {
  v1::Lease lease;
  lease.set_purpose(purpose);
  lease.set_samples(samples);
  lease.set_policy_version(version);
  lease.mutable_sampler()->set_solver(solver);
  lease.mutable_sampler()->set_steps(steps);
  return lease;
}

size_t Merge(const std::vector<v1::Lease>& leases, int64_t rows = 16) {
  std::vector<const v1::Lease*> pointers;
  for (const v1::Lease& lease : leases) pointers.push_back(&lease);
  return GroupsToMerge(pointers, {.evaluation_rows = rows});
}

TEST(WantsLease, ReadsOneTrainingGroupAhead) {
  EXPECT_TRUE(WantsLease({}, {}));
  EXPECT_FALSE(WantsLease({.training_groups = 1}, {}));
}

TEST(WantsLease, FillsOneBatchOfEvaluationRows) {
  EXPECT_TRUE(WantsLease({.evaluation_rows = 15}, {.evaluation_rows = 16}));
  EXPECT_FALSE(WantsLease({.evaluation_rows = 16}, {.evaluation_rows = 16}));
}

TEST(WantsLease, TakesNothingMoreWhileATrainingGroupWaits) {
  EXPECT_FALSE(WantsLease({.training_groups = 1, .evaluation_rows = 0}, {.evaluation_rows = 16}));
}

TEST(GroupsToMerge, IsNothingOfNothing) { EXPECT_EQ(Merge({}), 0); }

TEST(GroupsToMerge, SamplesTrainingGroupsAlone) {
  EXPECT_EQ(Merge({MakeLease(v1::TRAINING, 4), MakeLease(v1::TRAINING, 4)}), 1);
  EXPECT_EQ(Merge({MakeLease(v1::TRAINING, 4), MakeLease(v1::EVALUATION, 1)}), 1);
  EXPECT_EQ(Merge({MakeLease(v1::EVALUATION, 1), MakeLease(v1::TRAINING, 4)}), 1);
}

TEST(GroupsToMerge, JoinsEvaluationGroupsUpToTheRows) {
  const std::vector<v1::Lease> leases(5, MakeLease(v1::EVALUATION, 1));
  EXPECT_EQ(Merge(leases), 5);
  EXPECT_EQ(Merge(leases, 3), 3);
}

TEST(GroupsToMerge, TakesAGroupThatIsLargerThanABatch) {
  EXPECT_EQ(Merge({MakeLease(v1::EVALUATION, 64), MakeLease(v1::EVALUATION, 1)}), 1);
}

TEST(GroupsToMerge, EndsAtAnotherVersionOrSampler) {
  const v1::Lease first = MakeLease(v1::EVALUATION, 1);
  EXPECT_EQ(Merge({first, first, MakeLease(v1::EVALUATION, 1, /*version=*/2), first}), 2);
  EXPECT_EQ(Merge({first, MakeLease(v1::EVALUATION, 1, 1, /*steps=*/9)}), 1);
  EXPECT_EQ(Merge({first, MakeLease(v1::EVALUATION, 1, 1, 8, v1::DPM_SOLVER_PP_2M)}), 1);
}

TEST(GroupsToMerge, EndsAtAnotherGuidanceOrOtherStochasticSteps) {
  const v1::Lease first = MakeLease(v1::EVALUATION, 1);
  v1::Lease guided = first;
  guided.mutable_sampler()->set_guidance_scale(4.5);
  EXPECT_EQ(Merge({first, guided}), 1);
  EXPECT_EQ(Merge({guided, guided}), 2);
  v1::Lease stochastic = first;
  stochastic.mutable_stochastic()->set_kind(v1::FLOW_SDE);
  stochastic.mutable_stochastic()->set_count(2);
  v1::Lease later = stochastic;
  later.mutable_stochastic()->set_first(1);
  EXPECT_EQ(Merge({first, stochastic}), 1);
  EXPECT_EQ(Merge({stochastic, first}), 1);
  EXPECT_EQ(Merge({stochastic, stochastic, later}), 2);
}

}  // namespace
}  // namespace flowawr
