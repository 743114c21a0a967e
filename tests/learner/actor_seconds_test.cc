#include "learner/actor_seconds.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace flowawr {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

// Two actors with these totals of the stage "sample".
std::map<std::string, std::map<std::string, double>> Totals(double first, double second) {
  return {{"a", {{"sample", first}}}, {"b", {{"sample", second}}}};
}

TEST(ActorSecondsTest, AddsUpWhatEachActorSpentSinceTheLastCall) {
  ActorSeconds seconds(false);
  EXPECT_THAT(seconds.Take(Totals(2, 3)), ElementsAre(Pair("sample", 5)));
  EXPECT_THAT(seconds.Take(Totals(4, 4)), ElementsAre(Pair("sample", 3)));
}

TEST(ActorSecondsTest, PassesOverAnActorThatHasNotReportedYet) {
  ActorSeconds seconds(true);
  EXPECT_THAT(seconds.Take({{"a", {}}}), IsEmpty());
  EXPECT_THAT(seconds.Take({{"a", {{"sample", 5}}}}), IsEmpty());  // its baseline, of a resumed run
  EXPECT_THAT(seconds.Take({{"a", {{"sample", 7}}}}), ElementsAre(Pair("sample", 2)));
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
