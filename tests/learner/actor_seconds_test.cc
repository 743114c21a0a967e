#include "learner/actor_seconds.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace flowawr {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

// Two actors with these totals of the stage "sample".
v1::Status Totals(double first, double second) {
  v1::Status status;
  for (const auto& [id, total] : {std::pair("a", first), std::pair("b", second)}) {
    v1::ActorStatus& actor = *status.add_actors();
    actor.set_actor_id(id);
    (*actor.mutable_stage_seconds())["sample"] = total;
  }
  return status;
}

TEST(ActorSecondsTest, AddsUpWhatEachActorSpentSinceTheLastCall) {
  ActorSeconds seconds(false);
  EXPECT_THAT(seconds.Take(Totals(2, 3)), ElementsAre(Pair("sample", 5)));
  EXPECT_THAT(seconds.Take(Totals(4, 4)), ElementsAre(Pair("sample", 3)));
}

TEST(ActorSecondsTest, CountsAnActorThatStartedAgainFromItsStart) {
  ActorSeconds seconds(false);
  seconds.Take(Totals(10, 10));
  EXPECT_THAT(seconds.Take(Totals(1, 12)), ElementsAre(Pair("sample", 3)));
}

TEST(ActorSecondsTest, LeavesOutWhatWasDoneForALearnerBeforeThisOne) {
  ActorSeconds seconds(true);
  EXPECT_THAT(seconds.Take(Totals(10, 10)), IsEmpty());
  EXPECT_THAT(seconds.Take(Totals(11, 12)), ElementsAre(Pair("sample", 3)));
}

}  // namespace
}  // namespace flowawr
