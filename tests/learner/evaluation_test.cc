#include "learner/evaluation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::testing::DoubleNear;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

v1::RewardSpec TwoTerms() {
  v1::RewardSpec spec;
  spec.set_version(3);
  v1::RewardSpecTerm& ocr = *spec.add_terms();
  ocr.set_scorer("ocr");
  ocr.set_weight(1);
  v1::RewardSpecTerm& small = *spec.add_terms();
  small.set_scorer("small");
  small.set_weight(-0.5);
  return spec;
}

// `rewards` are [terms][samples].
Group GroupOf(const std::vector<std::vector<double>>& rewards) {
  Group group;
  *group.lease.mutable_reward_spec() = TwoTerms();
  group.lease.mutable_prompt()->set_text("a sign");
  std::vector<at::Tensor> rows;
  for (const std::vector<double>& row : rewards) rows.push_back(at::tensor(row, at::kDouble));
  group.rewards = at::stack(rows);
  return group;
}

// As a rule reward tells it, the first scorer's word on each image; empty: it did not say.
Group Saying(Group group, const std::vector<std::string>& exact) {
  for (const std::string& word : exact) {
    v1::TermScore& score = *group.header.add_samples()->add_terms();
    if (!word.empty()) (*score.mutable_details())["exact"] = word;
  }
  return group;
}

class EvaluationLeasesTest : public testing::Test {
 protected:
  EvaluationLeasesTest() : heldout_(PromptSet::Load(folder_.Write("heldout.txt", "a\nb\nc\n")).value()) {
    config_.set_seed(11);
    config_.mutable_sampler()->set_solver(v1::DPM_SOLVER_PP_2M);
    config_.mutable_sampler()->set_guidance_scale(4.5);
    config_.mutable_sampler()->set_steps(10);
    config_.mutable_evaluation()->set_samples_per_prompt(2);
    config_.mutable_evaluation()->set_solver(v1::EULER);
    config_.mutable_evaluation()->set_steps(28);
  }

  std::vector<v1::Lease> Leases(int count, int pictures) const {
    return EvaluationLeases(config_, heldout_, count, pictures, /*policy_version=*/7, TwoTerms());
  }

  v1::RunConfig config_;
  const TempFolder folder_;
  const PromptSet heldout_;
};

TEST_F(EvaluationLeasesTest, AskForEveryPromptAsTheConfigurationSays) {
  const std::vector<v1::Lease> leases = Leases(0, 1);
  ASSERT_EQ(leases.size(), 3u);
  for (size_t i = 0; i < leases.size(); ++i) {
    EXPECT_EQ(leases[i].group_id(), kEvaluationGroupBit + i);
    EXPECT_EQ(leases[i].purpose(), v1::EVALUATION);
    EXPECT_EQ(leases[i].prompt().index(), i);
    EXPECT_EQ(leases[i].samples(), 2u);
    EXPECT_EQ(leases[i].noise_seed(), 11u);
    EXPECT_EQ(leases[i].policy_version(), 7u);
    EXPECT_EQ(leases[i].reward_spec().SerializeAsString(), TwoTerms().SerializeAsString());
    EXPECT_EQ(leases[i].sampler().solver(), v1::EULER);  // not that of training
    EXPECT_EQ(leases[i].sampler().guidance_scale(), 4.5);
    EXPECT_EQ(leases[i].sampler().steps(), 28);
    EXPECT_EQ(leases[i].wants_images(), i < 1);
  }
}

TEST_F(EvaluationLeasesTest, TakeTheFirstPromptsAndNoMoreThanThereAre) {
  EXPECT_EQ(Leases(2, 0).size(), 2u);
  EXPECT_EQ(Leases(2, 0)[1].group_id(), Leases(0, 0)[1].group_id());
  EXPECT_EQ(Leases(9, 0).size(), 3u);
  EXPECT_TRUE(Leases(9, 9)[2].wants_images());
}

TEST(SummariseTest, GivesTheMeanOfTheWeightedRewardAndItsStandardError) {
  // Weighted: 1, 0.25, 0.5 and -0.5.
  const v1::EvaluationSummary summary = Summarise({Saying(GroupOf({{1, 0.5}, {0, 0.5}}), {"true", "false"}),
                                                   Saying(GroupOf({{1, 0}, {1, 1}}), {"true", "false"})},
                                                  40);
  EXPECT_EQ(summary.update(), 40u);
  EXPECT_EQ(summary.images(), 4u);
  EXPECT_DOUBLE_EQ(summary.reward_mean(), 0.3125);
  const double squares = std::pow(0.6875, 2) + std::pow(0.0625, 2) + std::pow(0.1875, 2) + std::pow(0.8125, 2);
  EXPECT_NEAR(summary.reward_stderr(), std::sqrt(squares / 3) / 2, 1e-12);
  EXPECT_DOUBLE_EQ(summary.exact_share(), 0.5);
  EXPECT_THAT(summary.by_scorer(),
              UnorderedElementsAre(Pair("ocr", DoubleNear(0.625, 1e-12)), Pair("small", DoubleNear(0.625, 1e-12))));
}

TEST(SummariseTest, LeavesAMissingRewardOutOfWhatItTakesPartInAndOnlyOfThat) {
  const v1::EvaluationSummary summary =
      Summarise({Saying(GroupOf({{1, 0.5, kNan}, {kNan, 0.5, 0.25}}), {"true", "false", ""})}, 0);
  EXPECT_EQ(summary.images(), 3u);
  EXPECT_DOUBLE_EQ(summary.reward_mean(), 0.25);  // of the second sample alone
  EXPECT_FALSE(summary.has_reward_stderr());      // of which there is none with one sample
  EXPECT_DOUBLE_EQ(summary.exact_share(), 0.5);   // of the two that the first scorer scored
  EXPECT_THAT(summary.by_scorer(),
              UnorderedElementsAre(Pair("ocr", DoubleNear(0.75, 1e-12)), Pair("small", DoubleNear(0.375, 1e-12))));
  EXPECT_THAT(summary.missing(), UnorderedElementsAre(Pair("ocr", 1), Pair("small", 1)));
}

TEST(SummariseTest, SaysNothingOfWhatNobodyMeasured) {
  const v1::EvaluationSummary summary = Summarise({Saying(GroupOf({{1, 0}, {kNan, kNan}}), {"true", "false"})}, 0);
  EXPECT_FALSE(summary.has_reward_mean());
  EXPECT_FALSE(summary.has_reward_stderr());
  EXPECT_DOUBLE_EQ(summary.exact_share(), 0.5);
  EXPECT_THAT(summary.by_scorer(), UnorderedElementsAre(Pair("ocr", 0.5)));
  EXPECT_THAT(summary.missing(), UnorderedElementsAre(Pair("small", 2)));
}

TEST(SummariseTest, KeepsTheStandardErrorOfRewardsFarFromZero) {
  const v1::EvaluationSummary summary = Summarise({GroupOf({{1e6, 1e6 - 1e-3}, {0, 0}})}, 0);
  EXPECT_NEAR(summary.reward_stderr(), 5e-4, 1e-9);
}

TEST(SummariseTest, AnImageIsExactByTheFirstScorersWordAlone) {
  EXPECT_DOUBLE_EQ(Summarise({Saying(GroupOf({{1, 1, 0.2}, {0, 0, 0}}), {"false", "", "true"})}, 0).exact_share(), 0.5);
  EXPECT_FALSE(Summarise({GroupOf({{1, 1}, {0, 0}})}, 0).has_exact_share());
}

TEST(SummariseTest, IsAbsentWhereNothingWasScored) {
  const v1::EvaluationSummary summary = Summarise({GroupOf({{kNan}, {kNan}})}, 0);
  EXPECT_EQ(summary.images(), 1u);
  EXPECT_FALSE(summary.has_reward_mean());
  EXPECT_FALSE(summary.has_exact_share());
  EXPECT_TRUE(summary.by_scorer().empty());
  EXPECT_EQ(Summarise({}, 0).images(), 0u);
}

TEST(PictureJsonTest, SaysPromptRewardAndWhatTheFirstScorerTold) {
  Group group = GroupOf({{1, 0.5}, {0, 1}});
  for (int k = 0; k < 2; ++k) {
    v1::SampleScores& sample = *group.header.add_samples();
    (*sample.add_terms()->mutable_details())["text"] = k == 0 ? "CAT" : "C\xffT";  // the second is no UTF-8
    (*sample.add_terms()->mutable_details())["bytes"] = "900";
  }
  const nlohmann::json first = nlohmann::json::parse(PictureJson(group, 0, 40));
  EXPECT_EQ(first, nlohmann::json({{"update", 40}, {"prompt", "a sign"}, {"reward", 1.0}, {"details", {{"text", "CAT"}}}}));
  const nlohmann::json second = nlohmann::json::parse(PictureJson(group, 1, 40));
  EXPECT_EQ(second["reward"], 0.0);
  EXPECT_EQ(second["details"]["text"], "C\xef\xbf\xbdT");
}

TEST(PictureJsonTest, HasNoRewardWhenOneIsMissing) {
  const nlohmann::json json = nlohmann::json::parse(PictureJson(GroupOf({{kNan}, {1}}), 0, 0));
  EXPECT_TRUE(json["reward"].is_null());
  EXPECT_TRUE(json["details"].empty());
}

TEST(PictureTextTest, SaysHowThePictureWasDrawnAndWhatItWasGiven) {
  Group group = GroupOf({{0.75}, {0.5}});
  group.lease.set_noise_seed(11);
  group.lease.mutable_sampler()->set_solver(v1::DPM_SOLVER_PP_2M);
  group.lease.mutable_sampler()->set_steps(10);
  (*group.header.add_samples()->add_terms()->mutable_details())["text"] = "CAT";
  v1::RunConfig config;
  config.set_name("tiny");
  config.mutable_model()->set_path("models/tiny-sd3");
  const std::map<std::string, std::string> text = PictureText(config, group, 0, 40);
  for (const auto& [key, value] : std::map<std::string, std::string>{{"prompt", "a sign"},
                                                                     {"seed", "11"},
                                                                     {"model", "models/tiny-sd3"},
                                                                     {"adapter", "the average policy of run tiny"},
                                                                     {"update", "40"},
                                                                     {"solver", "dpm_solver_pp_2m"},
                                                                     {"steps", "10"},
                                                                     {"guidance", "1"},
                                                                     {"reward", "0.5"},
                                                                     {"text read", "CAT"}})
    EXPECT_THAT(text, testing::Contains(Pair(key, value)));
  EXPECT_TRUE(text.contains("Software"));
  EXPECT_EQ(PictureText(config, GroupOf({{kNan}, {1}}), 0, 0).at("reward"), "missing");
  EXPECT_EQ(PictureText(config, group, 0, 0).at("adapter"), "none");
}

}  // namespace
}  // namespace flowawr
