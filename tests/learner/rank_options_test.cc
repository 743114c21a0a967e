// Which rank a learner is, by its command line and its environment.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "learner/options.h"

namespace flowawr {
namespace {

using Environment = std::map<std::string, std::string>;

absl::StatusOr<LearnerOptions> Options(const Environment& environment, GivenRank given = {},
                                       LearnerOptions options = {}) {
  const absl::Status status = FillInRank(
      given,
      [&](const char* name) {
        const auto found = environment.find(name);
        return found == environment.end() ? std::string() : found->second;
      },
      options);
  if (!status.ok()) return status;
  return options;
}

TEST(RankOptions, NothingSaidIsRankZero) {
  EXPECT_EQ(Options({})->rank, 0);
  EXPECT_EQ(Options({})->world, 0);
}

TEST(RankOptions, TorchrunsVariables) {
  const auto options =
      Options({{"RANK", "2"}, {"WORLD_SIZE", "4"}, {"MASTER_ADDR", "10.0.0.1"}, {"MASTER_PORT", "29500"}});
  EXPECT_EQ(options->rank, 2);
  EXPECT_EQ(options->world, 4);
  EXPECT_EQ(options->rank0, "10.0.0.1");
}

TEST(RankOptions, AnIndexedJobsVariable) {
  EXPECT_EQ(Options({{"JOB_COMPLETION_INDEX", "1"}})->rank, 1);
  EXPECT_EQ(Options({{"JOB_COMPLETION_INDEX", "1"}, {"RANK", "2"}})->rank, 2);
}

TEST(RankOptions, AJobOfAllRanksButTheFirst) {
  EXPECT_EQ(Options({{"JOB_COMPLETION_INDEX", "0"}}, {}, {.first_rank = 1})->rank, 1);
  EXPECT_EQ(Options({{"JOB_COMPLETION_INDEX", "2"}}, {}, {.first_rank = 1})->rank, 3);
  EXPECT_EQ(Options({{"RANK", "2"}}, {}, {.first_rank = 1})->rank, 2) << "torchrun counts from 0";
  EXPECT_TRUE(absl::IsInvalidArgument(Options({}, {}, {.first_rank = 1}).status())) << "it would be rank 0 as well";
  EXPECT_TRUE(absl::IsInvalidArgument(Options({{"JOB_COMPLETION_INDEX", "1023"}}, {}, {.first_rank = 1}).status()));
}

TEST(RankOptions, TheCommandLineWins) {
  const auto options = Options({{"RANK", "2"}, {"WORLD_SIZE", "4"}, {"MASTER_ADDR", "10.0.0.1"}},
                               {.rank = true, .world = true}, {.rank = 0, .world = 3, .rank0 = "host:1"});
  EXPECT_EQ(options->rank, 0);
  EXPECT_EQ(options->world, 3);
  EXPECT_EQ(options->rank0, "host:1");
}

TEST(RankOptions, TheRanksOfAMachine) {
  EXPECT_EQ(Options({})->local_world, 1);
  const auto options = Options({{"LOCAL_RANK", "1"}, {"LOCAL_WORLD_SIZE", "2"}});
  EXPECT_EQ(options->local_rank, 1);
  EXPECT_EQ(options->local_world, 2);
  EXPECT_EQ(
      Options({{"LOCAL_RANK", "1"}, {"LOCAL_WORLD_SIZE", "2"}}, {.local = true}, {.local_rank = 2, .local_world = 3})
          ->local_rank,
      2);
  EXPECT_TRUE(absl::IsInvalidArgument(Options({{"LOCAL_RANK", "2"}, {"LOCAL_WORLD_SIZE", "2"}}).status()));
}

TEST(RankOptions, WhatIsNoNumberIsNamed) {
  for (const Environment& wrong :
       {Environment{{"RANK", "two"}}, Environment{{"RANK", "-1"}}, Environment{{"WORLD_SIZE", "0"}}}) {
    const auto options = Options(wrong);
    EXPECT_TRUE(absl::IsInvalidArgument(options.status()));
    EXPECT_THAT(std::string(options.status().message()), testing::HasSubstr("$" + wrong.begin()->first));
  }
}

}  // namespace
}  // namespace flowawr
