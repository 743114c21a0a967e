#include "learner/resume_check.h"

#include <string>

#include "common/config/run_config.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace flowawr {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

v1::RunConfig Saved() {
  v1::RunConfig config;
  config.set_name("saved");
  config.set_seed(1);
  config.mutable_lora()->set_rank(4);
  config.mutable_optimizer()->set_learning_rate(0.5);
  config.mutable_train()->set_updates(10);
  config.mutable_rewards()->add_terms()->set_endpoint("127.0.0.1:1");
  return config;
}

TEST(CheckResumable, AllowsWhatDoesNotChangeTheRun) {
  v1::RunConfig now = Saved();
  now.set_name("other");
  now.set_run_dir("elsewhere");
  now.mutable_model()->set_path("moved");
  now.mutable_lora()->set_init_from("an adapter that counted once");
  now.mutable_train()->set_updates(20);
  now.mutable_train()->set_threads(3);
  now.mutable_rollout()->set_max_attempts(7);
  now.mutable_checkpoint()->set_keep_best(2);
  now.mutable_telemetry()->set_trace_mib(32);  // which older checkpoints do not know
  now.mutable_rewards()->mutable_terms(0)->set_endpoint("127.0.0.1:2");
  EXPECT_TRUE(CheckResumable(Saved(), now).ok()) << CheckResumable(Saved(), now);
}

TEST(CheckResumable, TakesAModelOfAScorerFromElsewhereButNoOther) {
  v1::RunConfig saved = Saved();
  saved.mutable_rewards()->mutable_terms(0)->set_scorer("geneval");
  v1::RunConfig now = saved;
  (*saved.mutable_rewards()->mutable_terms(0)->mutable_options())["detector"] = "/a/models/swin";
  std::string& detector = (*now.mutable_rewards()->mutable_terms(0)->mutable_options())["detector"];
  for (const char* elsewhere : {"/b/swin", "models/swin/", "swin"}) {
    detector = elsewhere;
    EXPECT_TRUE(CheckResumable(saved, now).ok()) << elsewhere;
  }
  detector = "/a/models/resnet";
  EXPECT_THAT(std::string(CheckResumable(saved, now).message()), HasSubstr("swin"));
}

TEST(CheckUpdatesAhead, RefusesFewerUpdatesThanAreDone) {
  v1::RunConfig now = Saved();  // 10 updates
  EXPECT_TRUE(CheckUpdatesAhead(9, now).ok());
  EXPECT_TRUE(CheckUpdatesAhead(10, now).ok());
  const absl::Status status = CheckUpdatesAhead(95, now);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("train.updates: 10, but 95 updates are done"));
}

TEST(CheckResumable, ListsEveryFieldThatDiffersAndNoOther) {
  v1::RunConfig now = Saved();
  now.set_name("other");
  now.set_seed(2);
  now.mutable_lora()->set_rank(8);
  now.mutable_train()->set_updates(20);
  now.mutable_rewards()->add_terms();
  const absl::Status status = CheckResumable(Saved(), now);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("seed: 1 -> 2"), HasSubstr("lora.rank: 4 -> 8"), HasSubstr("rewards.terms[1]"),
                    Not(HasSubstr("name")), Not(HasSubstr("updates")), Not(HasSubstr("learning_rate"))));
}

TEST(CheckResumable, RefusesAnotherAlgorithmAndTellsHowToBeginFromWhatWasLearned) {
  v1::RunConfig now = Saved();
  now.mutable_algorithm()->mutable_diffusion_nft()->set_beta(1);
  const std::string text(CheckResumable(Saved(), now).message());
  EXPECT_THAT(text, AllOf(HasSubstr("algorithm: flow_awr -> diffusion_nft\n"), HasSubstr("algorithm.diffusion_nft"),
                          HasSubstr("lora.init_from: ADAPTER/peft"), HasSubstr("flowawr export RUN_DIR --out ADAPTER"),
                          Not(HasSubstr("but only an adapter"))));
  now = Saved();
  now.mutable_algorithm()->mutable_flow_awr()->set_kl_beta(0.5);
  EXPECT_THAT(std::string(CheckResumable(Saved(), now).message()),
              AllOf(HasSubstr("algorithm.flow_awr.kl_beta: 0.5"), Not(HasSubstr("algorithm: "))));
}

TEST(CheckResumable, TellsThatAnAdapterOfAnotherShapeIsNoBeginning) {
  v1::RunConfig now = Saved();
  now.mutable_lora()->add_target_modules("attn.to_q");
  EXPECT_THAT(std::string(CheckResumable(Saved(), now).message()),
              AllOf(HasSubstr("lora.target_modules"), HasSubstr("but only an adapter of the rank, alpha and modules")));
}

// As a checkpoint of an older version holds it: options where they were then, newer ones unknown.
TEST(CheckResumable, AnOlderCheckpointGoesOnWithTheFileItWasMadeWith) {
  constexpr char kFile[] = R"(run_dir: x
model: {path: x}
prompts: {train: t, heldout: h}
rewards: {terms: [{scorer: ocr}]}
algorithm: {energy: hard, kl_beta: 0.01, behaviour: late}
)";
  const v1::RunConfig now = *ParseRunConfig(kFile, "run.yaml");
  v1::RunConfig saved = now;
  v1::AlgorithmConfig& algorithm = *saved.mutable_algorithm();
  algorithm.clear_method();
  algorithm.set_energy(v1::HARD);
  algorithm.set_temperature(1);
  algorithm.set_energy_clip(3);
  algorithm.set_kl_beta(0.01);
  algorithm.clear_behaviour_decay();
  algorithm.clear_updates_per_batch();
  saved.mutable_sampler()->clear_guidance_scale();
  saved.mutable_train()->clear_on_bad_update();
  EXPECT_TRUE(CheckResumable(saved, now).ok()) << CheckResumable(saved, now);
  algorithm.set_kl_beta(0.02);
  EXPECT_THAT(std::string(CheckResumable(saved, now).message()),
              HasSubstr("given):\nmodified: algorithm.flow_awr.kl_beta: 0.02 -> 0.01\n"));
}

TEST(WarningOfOtherBits, NamesWhatDiffersAndNothingElse) {
  const BitSources saved{.instruction_set = "avx512", .device = "cpu", .deterministic = true};
  EXPECT_EQ(WarningOfOtherBits(saved, saved), "");
  BitSources now = saved;
  now.instruction_set = "avx2";
  EXPECT_THAT(WarningOfOtherBits(saved, now),
              AllOf(HasSubstr("instruction set avx512 -> avx2. "), HasSubstr("FLOWAWR_CPU=avx512 keeps to it"),
                    Not(HasSubstr("device")), Not(HasSubstr("deterministic"))));
  now.device = "NVIDIA H100";
  now.deterministic = false;
  EXPECT_THAT(WarningOfOtherBits(saved, now),
              HasSubstr("avx512 -> avx2, the learner's device cpu -> NVIDIA H100, model.deterministic true -> false"));
  now.instruction_set = saved.instruction_set;
  EXPECT_THAT(WarningOfOtherBits(saved, now), Not(HasSubstr("FLOWAWR_CPU")));
  EXPECT_EQ(WarningOfOtherBits({}, now), "") << "a checkpoint of an older version does not say";
}

}  // namespace
}  // namespace flowawr
