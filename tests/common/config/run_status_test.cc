#include "common/config/run_status.h"

#include <gtest/gtest.h>

namespace flowawr {
namespace {

v1::CheckpointManifest Manifest(uint64_t update) {
  v1::CheckpointManifest manifest;
  manifest.set_update(update);
  manifest.mutable_config()->mutable_train()->set_updates(10);
  manifest.mutable_config()->mutable_prompts()->set_heldout("heldout.txt");
  return manifest;
}

void Evaluate(v1::CheckpointManifest& manifest, uint64_t update, double reward) {
  manifest.mutable_latest()->set_update(update);
  manifest.mutable_latest()->set_reward_mean(reward);
}

TEST(RunStatusTest, TellsWhatTheCheckpointTells) {
  v1::CheckpointManifest manifest = Manifest(4);
  manifest.set_run_id("run-1");
  manifest.set_behaviour_version(7);
  manifest.set_groups_accepted(12);
  manifest.set_samples_trained(30);
  manifest.set_updates_skipped(1);
  manifest.set_elapsed_s(5);
  (*manifest.mutable_dropped())["stale"] = 2;
  manifest.mutable_reward_spec()->set_version(3);
  Evaluate(manifest, 4, .5);
  v1::RunConfig config = manifest.config();
  config.set_name("small");
  config.mutable_rollout()->set_samples_per_group(3);
  config.mutable_algorithm()->mutable_diffusion_nft();
  const v1::Status status = StatusOfManifest(manifest, config);
  EXPECT_EQ(status.run_id(), "run-1");
  EXPECT_EQ(status.name(), "small");
  EXPECT_EQ(status.algorithm(), "diffusion_nft");
  EXPECT_EQ(status.update(), 4u);
  EXPECT_EQ(status.updates_total(), 10u);
  EXPECT_EQ(status.policy_version(), 7u);
  EXPECT_EQ(status.groups_accepted(), 12u);
  EXPECT_EQ(status.samples_accepted(), 36u) << "those of the skipped update, too";
  EXPECT_EQ(status.samples_trained(), 30u);
  EXPECT_EQ(status.updates_skipped(), 1u);
  EXPECT_EQ(status.elapsed_s(), 5);
  EXPECT_EQ(status.dropped().at("stale"), 2u);
  EXPECT_EQ(status.reward_spec().version(), 3u);
  EXPECT_EQ(status.latest().reward_mean(), .5);
  EXPECT_FALSE(status.has_base());
  EXPECT_EQ(status.phase(), v1::RUN_PHASE_UNSPECIFIED);
}

TEST(RunStatusTest, IsFinishedAsTheCheckpointSays) {
  v1::CheckpointManifest manifest = Manifest(3);
  manifest.set_is_finished(true);
  EXPECT_TRUE(IsFinished(manifest)) << "at its target reward, say";
  manifest = Manifest(10);
  Evaluate(manifest, 10, .5);
  manifest.set_is_finished(false);
  EXPECT_FALSE(IsFinished(manifest)) << "its export may be missing";
}

// Which say nothing of it.
TEST(RunStatusTest, OfOlderCheckpointsTheLastEvaluationTells) {
  v1::CheckpointManifest manifest = Manifest(10);
  EXPECT_FALSE(IsFinished(manifest));
  Evaluate(manifest, 9, .5);
  EXPECT_FALSE(IsFinished(manifest));
  Evaluate(manifest, 10, .5);
  EXPECT_TRUE(IsFinished(manifest));
  manifest = Manifest(4);
  manifest.mutable_config()->mutable_train()->set_target_reward(.4);
  Evaluate(manifest, 4, .3);
  EXPECT_FALSE(IsFinished(manifest));
  Evaluate(manifest, 4, .5);
  EXPECT_TRUE(IsFinished(manifest));
  manifest = Manifest(10);
  manifest.mutable_config()->mutable_prompts()->clear_heldout();
  EXPECT_TRUE(IsFinished(manifest));
}

}  // namespace
}  // namespace flowawr
