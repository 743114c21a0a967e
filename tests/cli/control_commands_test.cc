#include "cli/control_commands.h"
#include "cli/panel.h"

#include <filesystem>
#include <optional>
#include <string>

#include "cli/run_folder.h"
#include "common/base/sha256_sums.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

v1::RewardSpec Spec() {
  v1::RewardSpec spec;
  spec.set_version(3);
  v1::RewardSpecTerm* ocr = spec.add_terms();
  ocr->set_scorer("ocr");
  ocr->set_weight(1);
  ocr->set_endpoint("127.0.0.1:5");
  ocr->set_is_required(true);
  v1::RewardSpecTerm* size = spec.add_terms();
  size->set_scorer("jpeg");
  size->set_weight(-0.5);
  return spec;
}

// A run that was stopped during its last evaluation has no result yet; one that reached its target has, however early.
TEST(StatusOfCheckpointTest, IsFinishedOnceTheLastPolicyIsEvaluated) {
  const auto phase = [](uint64_t update, std::optional<uint64_t> evaluated, double reward, double target) {
    CheckpointFolder checkpoint;
    v1::CheckpointManifest& manifest = checkpoint.manifest;
    manifest.set_update(update);
    manifest.mutable_config()->mutable_train()->set_updates(20);
    manifest.mutable_config()->mutable_train()->set_target_reward(target);
    manifest.mutable_config()->mutable_prompts()->set_heldout("heldout.txt");
    if (evaluated) {
      manifest.mutable_latest()->set_update(*evaluated);
      manifest.mutable_latest()->set_reward_mean(reward);
    }
    return StatusOfCheckpoint(checkpoint, "run").phase();
  };
  EXPECT_EQ(phase(20, 20, .5, 0), v1::FINISHED);
  EXPECT_EQ(phase(20, 15, .5, 0), v1::PAUSED);
  EXPECT_EQ(phase(20, std::nullopt, 0, 0), v1::PAUSED);
  EXPECT_EQ(phase(15, 15, .9, 0), v1::PAUSED);
  EXPECT_EQ(phase(15, 15, .9, .8), v1::FINISHED);
  EXPECT_EQ(phase(15, 15, .7, .8), v1::PAUSED);
  EXPECT_EQ(phase(16, 15, .9, .8), v1::PAUSED);
}

TEST(StatusOfCheckpointTest, SaysWhyARunEndedEarlyOrStandsStill) {
  CheckpointFolder checkpoint;
  v1::CheckpointManifest& manifest = checkpoint.manifest;
  manifest.mutable_config()->mutable_train()->set_updates(20);
  manifest.set_update(5);
  manifest.set_is_finished(true);
  manifest.set_end_reason("the reward fell");
  EXPECT_EQ(StatusOfCheckpoint(checkpoint, "run").message(), "ended early: the reward fell");
  manifest.set_is_finished(false);
  EXPECT_EQ(StatusOfCheckpoint(checkpoint, "run").message(),
            "stopped; the reward fell; `flowawr run run --resume` goes on");
}

TEST(SettingsToTrainOn, UndoWhatEndedTheRun) {
  v1::RunConfig config;
  config.mutable_train()->set_updates(20);
  EXPECT_EQ(SettingsToTrainOn(config, ""), "--set train.updates=40");
  EXPECT_EQ(SettingsToTrainOn(config, "the held-out reward was .6, and train.target_reward is .5"),
            "--set train.target_reward=0");
  EXPECT_EQ(SettingsToTrainOn(config, "a fell by more than its max_drop"), "--set evaluation.on_drop=warn");
}

TEST(DescribeRewardSpec, NamesEveryTerm) {
  EXPECT_EQ(DescribeRewardSpec(Spec()), "version 3: ocr weight 1 at 127.0.0.1:5, jpeg weight -0.5 (optional)");
  EXPECT_EQ(DescribeRewardSpec(v1::RewardSpec()), "version 0: no reward");
}

TEST(DescribeStatus, AddsStagesBySizeRewardsAndCheckpointToThePanel) {
  v1::Status status;
  status.set_name("tiny");
  EXPECT_THAT(DescribeStatus(status, 80), Not(HasSubstr("learner")));
  (*status.mutable_learner_seconds())["train"] = 12.34;
  (*status.mutable_learner_seconds())["wait"] = 56.78;
  *status.mutable_reward_spec() = Spec();
  status.set_last_checkpoint("runs/tiny/checkpoints/update-000010");
  const std::string text = DescribeStatus(status, 80);
  EXPECT_THAT(text, HasSubstr("wait 56.8 s, train 12.3 s"));
  EXPECT_THAT(text, HasSubstr("rewards  version 3: ocr"));
  EXPECT_THAT(text, HasSubstr("saved    runs/tiny/checkpoints/update-000010\n"));
}

TEST(NewestCheckpoint, IsTheHighestUpdate) {
  const TempFolder folder;
  EXPECT_EQ(NewestCheckpoint(folder.path()).status().code(), absl::StatusCode::kNotFound);
  const auto write = [&](const std::string& name, const std::string& json) {
    std::filesystem::create_directories(folder / ("checkpoints/" + name));
    folder.Write("checkpoints/" + name + "/checkpoint.json", json);
    folder.Write("checkpoints/" + name + "/SHA256SUMS", FormatSha256Sums({{"checkpoint.json", json}}));
  };
  write("update-000009", R"({"update": "9"})");
  write("update-000010", R"({"update": "10", "config": {"name": "tiny", "train": {"updates": 20}}, "elapsed_s": 5})");
  for (const char* other : {"update-000011.tmp", "update-000011-broken"}) write(other, R"({"update": "11"})");
  const auto newest = NewestCheckpoint(folder.path());
  ASSERT_TRUE(newest.ok()) << newest.status();
  EXPECT_EQ(newest->manifest.update(), 10u);

  const v1::Status status = StatusOfCheckpoint(*newest, folder.path());
  EXPECT_EQ(status.update(), 10u);
  EXPECT_EQ(status.updates_total(), 20u);
  EXPECT_EQ(status.name(), "tiny");
  EXPECT_THAT(status.message(), HasSubstr("--resume"));
  EXPECT_THAT(status.last_checkpoint(), HasSubstr("update-000010"));
  write("update-1000000", R"({"update": "1000000", "config": {"train": {"updates": 20}}})");
  EXPECT_EQ(StatusOfCheckpoint(*NewestCheckpoint(folder.path()), folder.path()).phase(), v1::FINISHED);

  folder.Write("checkpoints/update-1000000/checkpoint.json", R"({"update": "1000001"})");
  const absl::Status broken = NewestCheckpoint(folder.path()).status();
  EXPECT_EQ(broken.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(broken.message()), AllOf(HasSubstr("update-1000000/checkpoint.json was changed"),
                                                   HasSubstr("move " + folder / "checkpoints/update-1000000 away")));
}

TEST(ReadRunFolderConfig, SaysWhatARunDirectoryIs) {
  const TempFolder folder;
  EXPECT_THAT(std::string(ReadRunFolderConfig(folder.path()).status().message()), HasSubstr("not a run directory"));
  EXPECT_EQ(LearnerEndpointOf(folder.path()).status().code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace flowawr
