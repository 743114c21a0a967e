#include "common/config/algorithm_options.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/config/run_config.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace flowawr {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kLeast[] = R"(run_dir: runs/x
model: {path: models/x}
prompts: {train: train.txt, heldout: heldout.txt}
rewards: {terms: [{scorer: ocr}]}
)";

v1::AlgorithmConfig Parse(const std::string& algorithm, const std::vector<std::string>& overrides = {}) {
  const absl::StatusOr<v1::RunConfig> config = ParseRunConfig(absl::StrCat(kLeast, algorithm), "run.yaml", overrides);
  EXPECT_TRUE(config.ok()) << config.status();
  return config.value_or(v1::RunConfig()).algorithm();
}

std::string ErrorOf(const std::string& algorithm, const std::vector<std::string>& overrides = {}) {
  return std::string(ParseRunConfig(absl::StrCat(kLeast, algorithm), "run.yaml", overrides).status().message());
}

TEST(AlgorithmOptions, FlowAwrIsWhatNobodyChose) {
  const v1::AlgorithmConfig algorithm = Parse("");
  EXPECT_EQ(AlgorithmName(algorithm), "flow_awr");
  EXPECT_EQ(algorithm.flow_awr().energy(), v1::SOFT);
  EXPECT_EQ(algorithm.flow_awr().kl_beta(), 1e-4);
  EXPECT_EQ(algorithm.behaviour(), v1::RAMP);
  EXPECT_EQ(algorithm.updates_per_batch(), 1);
}

TEST(AlgorithmOptions, AWrittenSectionChoosesAndBringsItsDefaults) {
  const v1::AlgorithmConfig algorithm = Parse("algorithm: {flow_grpo: {noise_level: 0.8}}\n");
  EXPECT_EQ(AlgorithmName(algorithm), "flow_grpo");
  EXPECT_EQ(algorithm.flow_grpo().noise_level(), 0.8);
  EXPECT_EQ(algorithm.flow_grpo().clip_range(), 1e-4);
  EXPECT_EQ(algorithm.behaviour(), v1::CURRENT);
  EXPECT_EQ(algorithm.updates_per_batch(), 2);
  EXPECT_EQ(AlgorithmName(Parse("algorithm:\n  awm:\n")), "awm");
}

TEST(AlgorithmOptions, OneWordOnTheCommandLineChoosesAnother) {
  const std::string file = "algorithm: {flow_awr: {energy: hard}, std_scope: group}\n";
  const v1::AlgorithmConfig other = Parse(file, {"algorithm.diffusion_nft={}"});
  EXPECT_EQ(AlgorithmName(other), "diffusion_nft");
  EXPECT_EQ(other.diffusion_nft().beta(), 1);
  EXPECT_EQ(other.std_scope(), v1::GROUP);
  EXPECT_EQ(Parse(file, {"algorithm.diffusion_nft.beta=0.1"}).diffusion_nft().beta(), 0.1);
  EXPECT_EQ(AlgorithmName(Parse(file, {"algorithm.rwr={}", "algorithm.awm={}"})), "awm") << "the last one holds";
  EXPECT_EQ(Parse(file, {"algorithm.flow_awr.kl_beta=0.5"}).flow_awr().energy(), v1::HARD) << "the file's stays";
}

TEST(AlgorithmOptions, TwoSectionsAreAnErrorThatNamesBoth) {
  EXPECT_THAT(ErrorOf("algorithm:\n  flow_awr: {}\n  awm: {}\n"),
              HasSubstr("run.yaml:7:3: algorithm.awm: excludes algorithm.flow_awr (run.yaml:6:3); keep one of them"));
}

TEST(AlgorithmOptions, AnOptionOfAnotherAlgorithmIsNamed) {
  EXPECT_THAT(ErrorOf("algorithm: {flow_awr: {beta: 1}}\n"),
              AllOf(HasSubstr("algorithm.flow_awr.beta: unknown field"), HasSubstr("algorithm.diffusion_nft.beta")));
  EXPECT_THAT(
      ErrorOf("algorithm: {energy: hard, diffusion_nft: {}}\n"),
      HasSubstr("algorithm.energy: is an option of flow_awr, but algorithm.diffusion_nft is chosen; remove it"));
  EXPECT_THAT(ErrorOf("algorithm: {flow_arw: {}}\n"), HasSubstr("did you mean \"flow_awr\"?"));
}

TEST(AlgorithmOptions, OlderNamesAreReadAndNeverWritten) {
  const std::string older = "algorithm: {energy: hard, kl_beta: 0.01, temperature: 2}\n";
  const v1::AlgorithmConfig algorithm = Parse(older);
  EXPECT_EQ(algorithm.flow_awr().energy(), v1::HARD);
  EXPECT_EQ(algorithm.flow_awr().kl_beta(), 0.01);
  EXPECT_EQ(algorithm.flow_awr().temperature(), 2);
  EXPECT_EQ(algorithm.flow_awr().energy_clip(), 3);
  EXPECT_EQ(algorithm.energy(), v1::ENERGY_KIND_UNSPECIFIED);
  EXPECT_EQ(Parse("", {"algorithm.energy=hard"}).flow_awr().energy(), v1::HARD);
  const auto config = ParseRunConfig(absl::StrCat(kLeast, older), "run.yaml");
  ASSERT_TRUE(config.ok()) << config.status();
  const auto yaml = RunConfigToYaml(*config);
  ASSERT_TRUE(yaml.ok()) << yaml.status();
  EXPECT_THAT(
      *yaml, AllOf(HasSubstr("\n  flow_awr:\n    energy: hard"), Not(HasSubstr("\n  energy:")), Not(HasSubstr("awm"))));
  EXPECT_EQ(ParseRunConfig(*yaml, "written")->SerializeAsString(), config->SerializeAsString());
  EXPECT_THAT(ErrorOf("algorithm: {flow_awr: {energy: soft}, energy: hard}\n"),
              HasSubstr("algorithm.energy: is the older name of algorithm.flow_awr.energy"));
}

TEST(AlgorithmOptions, AnOlderRunsConfigurationIsWhatItsFileWouldBeToday) {
  v1::RunConfig saved = *ParseRunConfig(kLeast, "run.yaml");
  const v1::RunConfig today = saved;
  // As it was before there were sections, and before a few fields.
  v1::AlgorithmConfig& algorithm = *saved.mutable_algorithm();
  algorithm.clear_method();
  algorithm.set_energy(v1::SOFT);
  algorithm.set_temperature(1);
  algorithm.set_energy_clip(3);
  algorithm.set_kl_beta(1e-4);
  algorithm.clear_updates_per_batch();
  saved.mutable_sampler()->clear_guidance_scale();
  saved.mutable_train()->clear_on_bad_update();
  BringUpToDate(&saved);
  saved.mutable_algorithm()->set_behaviour_decay(today.algorithm().behaviour_decay());  // 0 is a value of it
  EXPECT_EQ(saved.DebugString(), today.DebugString());
}

TEST(AlgorithmOptions, WhatMayNotGoTogetherIsRefused) {
  EXPECT_THAT(ErrorOf("algorithm: {flow_grpo: {}, behaviour: ramp}\n"),
              HasSubstr("algorithm.behaviour: flow_grpo trains on"));
  EXPECT_THAT(ErrorOf("sampler: {guidance_scale: 4.5}\n"), HasSubstr("sampler.guidance_scale: flow_awr trains"));
  EXPECT_EQ(ErrorOf("sampler: {guidance_scale: 4.5}\nalgorithm: {flow_grpo: {}}\n"), "");
}

TEST(AlgorithmOptions, TheWindowOfNoisyStepsFitsIntoTheRollout) {
  const auto error = [](const std::string& options, const std::string& steps) {
    return ErrorOf("sampler: {steps: 10}\nalgorithm: {flow_grpo: " + options + "}\n", {"sampler.steps=" + steps});
  };
  EXPECT_THAT(error("{}", "1"), HasSubstr("sampler.steps: 1 leaves flow_grpo no step"));
  EXPECT_THAT(error("{window: 6}", "10"),
              HasSubstr("algorithm.flow_grpo.window: 6 steps do not fit before step 5, half of"));
  EXPECT_THAT(error("{window: 3, window_end: 2}", "10"), HasSubstr("before step 2 (algorithm.flow_grpo.window_end)"));
  EXPECT_THAT(error("{window: 3, window_end: 11}", "10"), HasSubstr("window_end: 11 is beyond the 10 steps"));
  EXPECT_THAT(error("{sde: cps, window: 3, window_end: 10}", "10"), HasSubstr("must be less than the 10 steps"));
  EXPECT_THAT(error("{sde: cps, noise_level: 1.5}", "10"), HasSubstr("noise_level: is at most 1"));
  EXPECT_EQ(error("{window: 5}", "10"), "");
  EXPECT_EQ(error("{window: 3, window_end: 10}", "10"), "");
  EXPECT_EQ(error("{sde: cps, noise_level: 0.8}", "2"), "");
}

TEST(AlgorithmOptions, TellsWhichPassesAnUpdateTakes) {
  v1::RunConfig config = *ParseRunConfig(kLeast, "run.yaml", {"algorithm.behaviour=current"});
  EXPECT_FALSE(ComputesOld(config));
  EXPECT_TRUE(ComputesReference(config));
  config.mutable_algorithm()->set_updates_per_batch(2);
  EXPECT_TRUE(ComputesOld(config));
  config.mutable_algorithm()->mutable_rwr()->set_kl_beta(0);
  EXPECT_FALSE(ComputesOld(config)) << "its loss knows no old policy";
  EXPECT_FALSE(ComputesReference(config));
}

}  // namespace
}  // namespace flowawr
