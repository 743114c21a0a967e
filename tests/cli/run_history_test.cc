#include "cli/run_history.h"

#include <gmock/gmock.h>

#include "tests/cli/run_directory_fixture.h"

namespace flowawr {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

class RunHistoryTest : public RunDirectoryFixture {};

TEST_F(RunHistoryTest, ReadsUpdatesEvaluationsAndSeconds) {
  Write("config.yaml", "name: x\n");
  Write("metrics.jsonl",
        EvaluationLine(0, 0.5, 0.1) + UpdateLine(1, 0.55) + UpdateLine(2, 0.6) + EvaluationLine(2, 0.7, 0.4));
  const absl::StatusOr<RunHistory> history = ReadRunHistory(run_dir_);
  ASSERT_TRUE(history.ok()) << history.status();
  ASSERT_EQ(history->updates.size(), 2u);
  EXPECT_EQ(history->updates[1].reward_mean, 0.6);
  EXPECT_EQ(history->updates[1].samples_trained, 256u);
  EXPECT_THAT(history->learner_seconds, ElementsAre(Pair("train", 6.0), Pair("wait", 2.0)));
  ASSERT_NE(history->base_evaluation(), nullptr);
  EXPECT_EQ(history->base_evaluation()->reward_mean, 0.5);
  ASSERT_NE(history->final_evaluation(), nullptr);
  EXPECT_EQ(history->final_evaluation()->exact_share, 0.4);
  EXPECT_THAT(history->notes, IsEmpty());
}

TEST_F(RunHistoryTest, SaysThatTheLastLineIsCutShortAndKeepsTheOthers) {
  Write("config.yaml", "name: x\n");
  Write("metrics.jsonl", UpdateLine(1, 0.5) + UpdateLine(2, 0.6).substr(0, 30));
  const absl::StatusOr<RunHistory> history = ReadRunHistory(run_dir_);
  ASSERT_TRUE(history.ok()) << history.status();
  EXPECT_EQ(history->updates.size(), 1u);
  EXPECT_THAT(history->notes, ElementsAre(HasSubstr("cut short")));
}

TEST_F(RunHistoryTest, CountsMalformedLinesAndNamesTheFirst) {
  Write("config.yaml", "name: x\n");
  Write("metrics.jsonl", UpdateLine(1, 0.5) + "{\"kind\":\"update\",\"update\":nan}\n[]\n" + UpdateLine(2, 0.6));
  const absl::StatusOr<RunHistory> history = ReadRunHistory(run_dir_);
  ASSERT_TRUE(history.ok()) << history.status();
  EXPECT_EQ(history->updates.size(), 2u);
  EXPECT_THAT(history->notes, ElementsAre(testing::AllOf(HasSubstr("2 unreadable lines"), HasSubstr("line 2"))));
}

TEST_F(RunHistoryTest, TakesTheLastLineOfARepeatedUpdate) {
  Write("metrics.jsonl", UpdateLine(1, 0.5) + UpdateLine(2, 0.6) + UpdateLine(2, 0.65));
  const absl::StatusOr<RunHistory> history = ReadRunHistory(run_dir_);
  ASSERT_TRUE(history.ok()) << history.status();
  ASSERT_EQ(history->updates.size(), 2u);
  EXPECT_EQ(history->updates[1].reward_mean, 0.65);
  EXPECT_EQ(history->learner_seconds.at("train"), 6.0);
}

TEST_F(RunHistoryTest, LeavesOutFieldsOfAWrongType) {
  Write("metrics.jsonl", R"({"kind":"update","update":3,"reward_mean":"high","loss":null,"seconds":[1]})"
                         "\n");
  const absl::StatusOr<RunHistory> history = ReadRunHistory(run_dir_);
  ASSERT_TRUE(history.ok()) << history.status();
  ASSERT_EQ(history->updates.size(), 1u);
  EXPECT_EQ(history->updates[0].reward_mean, std::nullopt);
  EXPECT_THAT(history->learner_seconds, IsEmpty());
}

TEST_F(RunHistoryTest, LeavesOutABrokenPictureAndNamesIt) {
  Write("config.yaml", "name: x\n");
  Write("metrics.jsonl", EvaluationLine(0, 0.5, 0.1));
  WritePicture("base", "000", "a sign that says \"CAT\"", 0.5, "cot");
  Write("images/base/001.png", "no picture");
  const absl::StatusOr<RunHistory> history = ReadRunHistory(run_dir_);
  ASSERT_TRUE(history.ok()) << history.status();
  ASSERT_EQ(history->base_pictures.size(), 1u);
  EXPECT_EQ(history->base_pictures.at("000").details.at("text"), "cot");
  EXPECT_EQ(history->base_pictures.at("000").width, 16);
  EXPECT_THAT(history->notes, ElementsAre(HasSubstr("images/base/001.png")));
}

TEST_F(RunHistoryTest, ShowsTheLatestPicturesUntilThereAreFinalOnes) {
  Write("metrics.jsonl", EvaluationLine(0, 0.5, 0.1));
  WritePicture("latest", "000", "p", 0.6, "late");
  EXPECT_EQ(ReadRunHistory(run_dir_)->final_pictures.at("000").details.at("text"), "late");
  WritePicture("final", "000", "p", 0.9, "end");
  EXPECT_EQ(ReadRunHistory(run_dir_)->final_pictures.at("000").details.at("text"), "end");
}

TEST_F(RunHistoryTest, TakesTheRunIdFromTheNewestCheckpoint) {
  Write("metrics.jsonl", UpdateLine(1, 0.5));
  Write("checkpoints/latest", "update-000001\n");
  Write("checkpoints/update-000001/checkpoint.json", R"({"run_id":"abc123"})");
  EXPECT_EQ(ReadRunHistory(run_dir_)->run_id, "abc123");
}

TEST_F(RunHistoryTest, RefusesADirectoryWithoutHistory) {
  const absl::Status status = ReadRunHistory(run_dir_).status();
  EXPECT_TRUE(absl::IsNotFound(status)) << status;
  EXPECT_THAT(status.message(), testing::AllOf(HasSubstr(run_dir_), HasSubstr("metrics.jsonl")));
}

TEST(TextMatchesTest, ComparesAsTheOcrRewardDoes) {
  EXPECT_EQ(QuotedTarget("a sign that says \"CAT\" or \"DOG\""), "CAT");
  EXPECT_EQ(QuotedTarget("a sign that says \"CAT"), "");
  EXPECT_TRUE(TextMatches(" the c at\n", "CAT"));
  EXPECT_FALSE(TextMatches("cut", "CAT"));
  EXPECT_FALSE(TextMatches("anything", ""));
}

}  // namespace
}  // namespace flowawr
