#include "cli/run_history.h"

#include <gmock/gmock.h>

#include "tests/cli/run_directory_fixture.h"

namespace flowawr {
namespace {

using testing::AllOf;
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

TEST_F(RunHistoryTest, KnowsAFinalEvaluationFromTheLastOneOfARunThatWasStopped) {
  Write("metrics.jsonl", EvaluationLine(0, 0.5, 0.1) + EvaluationLine(10, 0.6, 0.2, "latest"));
  const RunHistory stopped = *ReadRunHistory(run_dir_);
  ASSERT_NE(stopped.latest_evaluation(), nullptr);
  EXPECT_EQ(stopped.latest_evaluation()->update, 10u);
  EXPECT_EQ(stopped.final_evaluation(), nullptr);
  Write("metrics.jsonl", Read("metrics.jsonl") + EvaluationLine(20, 0.7, 0.3, "final"));
  EXPECT_EQ(ReadRunHistory(run_dir_)->final_evaluation()->update, 20u);
  // Extended after its end.
  Write("metrics.jsonl", Read("metrics.jsonl") + EvaluationLine(30, 0.7, 0.3, "latest"));
  EXPECT_EQ(ReadRunHistory(run_dir_)->final_evaluation(), nullptr);
}

TEST_F(RunHistoryTest, FindsWhereTheRewardsWereReplacedAndNamesThem) {
  const auto with_spec = [](const std::string& line, int version) {
    nlohmann::json json = nlohmann::json::parse(line);
    json["reward_spec"] = version;
    return json.dump() + "\n";
  };
  Write("metrics.jsonl",
        with_spec(EvaluationLine(0, 0.5, 0.1), 1) + with_spec(UpdateLine(1, 0.5), 1) +
            with_spec(UpdateLine(2, 0.5), 1) +
            R"({"kind":"reward_spec","update":2,"reward_spec":2,"terms":[{"scorer":"jpeg","weight":-0.5}]})" + "\n" +
            with_spec(UpdateLine(3, 9), 2) + with_spec(EvaluationLine(3, 9, 0), 2));
  const RunHistory history = *ReadRunHistory(run_dir_);
  ASSERT_EQ(history.swaps.size(), 1u);
  EXPECT_EQ(history.swaps[0].update, 2u);
  EXPECT_EQ(history.swaps[0].from, "those of the configuration");
  EXPECT_EQ(history.swaps[0].to, "jpeg weight -0.5");
}

TEST_F(RunHistoryTest, KeepsOfManyUpdatesSomeAndAddsUpAll) {
  std::string lines;
  for (int update = 1; update <= 120000; ++update) lines += UpdateLine(update, 0.5);
  Write("metrics.jsonl", lines);
  const RunHistory history = *ReadRunHistory(run_dir_);
  EXPECT_LE(history.updates.size(), 50001u);
  EXPECT_GE(history.updates.size(), 10000u);
  EXPECT_EQ(history.updates.back().update, 120000u);
  EXPECT_DOUBLE_EQ(history.learner_seconds.at("train"), 3.0 * 120000);
  EXPECT_THAT(history.notes, testing::Contains(HasSubstr("only every 8th is drawn")));
}

TEST_F(RunHistoryTest, SkipsALineThatIsTooLongInBoundedMemory) {
  Write("metrics.jsonl", UpdateLine(1, 0.5) + std::string(5 << 20, '[') + "\n" + UpdateLine(2, 0.6));
  const RunHistory history = *ReadRunHistory(run_dir_);
  EXPECT_EQ(history.updates.size(), 2u);
  EXPECT_THAT(history.notes, testing::Contains(AllOf(HasSubstr("1 unreadable line"), HasSubstr("line 2"))));
}

TEST_F(RunHistoryTest, KeepsAsManyPicturesAndNotesAsAPageMayHave) {
  Write("metrics.jsonl", EvaluationLine(0, 0.5, 0.1));
  WritePicture("base", "000", "p", 0.5, "t");
  const std::string png = Read("images/base/000.png");
  for (int i = 1; i < 400; ++i) Write(absl::StrCat("images/base/", 100 + i, ".png"), i < 300 ? png : "no picture");
  for (int i = 0; i < 50; ++i) Write(absl::StrCat("images/final/", i, ".png"), "no picture");
  const RunHistory history = *ReadRunHistory(run_dir_);
  EXPECT_EQ(history.base_pictures.size(), 256u);
  EXPECT_LT(history.notes.size(), 10u);
  EXPECT_THAT(history.notes, testing::Contains(HasSubstr("49 more of images/final")));
}

TEST_F(RunHistoryTest, RefusesADirectoryWithoutHistory) {
  const absl::Status status = ReadRunHistory(run_dir_).status();
  EXPECT_TRUE(absl::IsNotFound(status)) << status;
  EXPECT_THAT(status.message(), testing::AllOf(HasSubstr(run_dir_), HasSubstr("metrics.jsonl")));
}

}  // namespace
}  // namespace flowawr
