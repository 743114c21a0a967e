#include "learner/clean_text.h"

#include <gtest/gtest.h>

#include "flowawr/v1/checkpoint.pb.h"
#include "flowawr/v1/rollout.pb.h"

namespace flowawr {
namespace {

TEST(CleanTextTest, MakesEveryTextReadableWhereverItStands) {
  v1::CheckpointManifest manifest;
  manifest.set_run_id("caf\xc3\xa9");
  manifest.mutable_config()->set_run_dir("runs/caf\xe9");
  manifest.mutable_config()->mutable_lora()->add_target_modules("to_q\xff");
  manifest.mutable_reward_spec()->add_terms()->set_scorer("\xc3");
  (*manifest.mutable_latest()->mutable_missing())["ocr\xff"] = 2;
  v1::CheckpointManifest read;
  const v1::CheckpointManifest clean = CleanText(manifest);
  ASSERT_TRUE(read.ParseFromString(clean.SerializeAsString()));
  EXPECT_EQ(read.run_id(), "caf\xc3\xa9");
  EXPECT_EQ(read.config().run_dir(), "runs/caf\uFFFD");
  EXPECT_EQ(read.config().lora().target_modules(0), "to_q\uFFFD");
  EXPECT_EQ(read.reward_spec().terms(0).scorer(), "\uFFFD");
  EXPECT_EQ(read.latest().missing().at("ocr\uFFFD"), 2u);
  EXPECT_FALSE(read.ParseFromString(manifest.SerializeAsString()));  // which is why
}

TEST(CleanTextTest, LeavesBytesAsTheyAre) {
  v1::GroupHeader header;
  header.set_policy_sha256("\xff\xfe");
  header.set_actor_id("a\xff");
  const v1::GroupHeader clean = CleanText(header);
  EXPECT_EQ(clean.policy_sha256(), "\xff\xfe");
  EXPECT_EQ(clean.actor_id(), "a\uFFFD");
}

}  // namespace
}  // namespace flowawr
