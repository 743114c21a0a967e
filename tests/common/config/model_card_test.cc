#include "common/config/model_card.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace flowawr {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

v1::CheckpointManifest TinyRun() {
  v1::CheckpointManifest run;
  run.set_run_id("abc123");
  run.set_update(60);
  run.set_samples_trained(7680);
  v1::RunConfig& config = *run.mutable_config();
  config.set_name("tiny-ocr");
  config.set_seed(7);
  config.mutable_model()->set_path("models/tiny-sd3");
  config.mutable_model()->set_height(32);
  config.mutable_model()->set_width(64);
  config.mutable_train()->set_updates(60);
  config.mutable_prompts()->set_train("words.txt");
  config.mutable_lora()->set_rank(16);
  run.mutable_reward_spec()->set_version(1);
  v1::RewardSpecTerm& term = *run.mutable_reward_spec()->add_terms();
  term.set_scorer("ocr");
  term.set_weight(1);
  run.mutable_base()->set_reward_mean(0.548);
  run.mutable_base()->set_exact_share(0.17);
  run.mutable_latest()->set_update(60);
  run.mutable_latest()->set_reward_mean(0.962);
  return run;
}

TEST(ModelCardTest, TellsOriginFiguresSeedAndHowToLoad) {
  const std::string card = ModelCard(TinyRun(), "average");
  EXPECT_THAT(card, StartsWith("---\nbase_model: \"models/tiny-sd3\"\nlibrary_name: peft\n"));
  for (const char* part :
       {"average, after update 60 of 60", "ocr (weight 1)", "7680 images of the prompts in `words.txt`", "| seed | 7 |",
        "| base model | 0.548 |  | 17.0% |", "| after update 60 | 0.962 |", "load_lora_weights", "PeftModel",
        "height=32, width=64", "licence"})
    EXPECT_THAT(card, HasSubstr(part));
}

TEST(ModelCardTest, SaysMissingForAFigureThatNobodyMeasuredAndThatRewardsWereReplaced) {
  v1::CheckpointManifest run = TinyRun();
  run.mutable_latest()->clear_reward_mean();
  run.mutable_reward_spec()->set_version(2);
  EXPECT_THAT(ModelCard(run, "average"), HasSubstr("| after update 60 | missing |"));
  EXPECT_THAT(ModelCard(run, "average"), HasSubstr("may be of different rewards"));
  run.clear_base(), run.clear_latest();
  EXPECT_THAT(ModelCard(run, "average"), HasSubstr("Not evaluated"));
}

TEST(ModelCardTest, NamesTheMethodAndTheGuidanceThatItWasTrainedWith) {
  v1::CheckpointManifest run = TinyRun();
  EXPECT_THAT(ModelCard(run, "average"),
              HasSubstr("reinforcement learning with FlowAWR (arXiv 2606.30376), by flowawr"));
  EXPECT_THAT(ModelCard(run, "average"), HasSubstr("without classifier-free guidance, hence `guidance_scale=1.0`"));
  run.mutable_config()->mutable_algorithm()->mutable_flow_grpo();
  run.mutable_config()->mutable_sampler()->set_guidance_scale(4.5);
  EXPECT_THAT(ModelCard(run, "average"),
              HasSubstr("reinforcement learning with Flow-GRPO (arXiv 2505.05470), by flowawr"));
  EXPECT_THAT(ModelCard(run, "average"), HasSubstr("with classifier-free guidance of 4.5."));
  EXPECT_THAT(ModelCard(run, "average"), HasSubstr("guidance_scale=4.5, num_inference_steps"));
}

TEST(ModelCardTest, LetsNoNameBreakItsMarkdown) {
  v1::CheckpointManifest run = TinyRun();
  run.mutable_config()->set_name("a | `b`\n---\n<script>");
  run.mutable_config()->mutable_model()->set_path("x\"\nlicense: mit");
  const std::string card = ModelCard(run, "average");
  EXPECT_THAT(card, HasSubstr("base_model: \"x\\\"\\nlicense: mit\"\n"));
  EXPECT_THAT(card, Not(HasSubstr("<script>")));
  EXPECT_THAT(card, HasSubstr("# a / 'b' --- (script)\n"));
}

TEST(AdapterMetadataTest, IsTheSameForEveryRunOfAConfiguration) {
  v1::CheckpointManifest again = TinyRun();
  again.set_run_id("another");
  again.set_elapsed_s(99);
  EXPECT_EQ(AdapterMetadata(TinyRun(), "average"), AdapterMetadata(again, "average"));
  EXPECT_EQ(AdapterMetadata(TinyRun(), "average").at("seed"), "7");
}

}  // namespace
}  // namespace flowawr
