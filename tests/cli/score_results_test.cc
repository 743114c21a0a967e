#include "cli/score_results.h"

#include <nlohmann/json.hpp>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

v1::RewardSpec Spec(const std::vector<std::pair<std::string, double>>& terms) {
  v1::RewardSpec spec;
  for (const auto& [scorer, weight] : terms) {
    v1::RewardSpecTerm& term = *spec.add_terms();
    term.set_scorer(scorer);
    term.set_weight(weight);
    term.set_is_required(true);
  }
  return spec;
}

PictureScore Picture(const std::string& name, const std::vector<std::optional<double>>& rewards) {
  PictureScore picture{.name = name, .height = 32, .width = 64};
  picture.prompt.set_text("prompt of " + name);
  for (const auto& reward : rewards) {
    v1::TermScore& score = *picture.scores.add_terms();
    if (reward.has_value()) {
      score.set_reward(*reward);
    } else {
      score.mutable_error()->set_kind(v1::ScoreError::BROKEN);
      score.mutable_error()->set_message("out of order");
    }
  }
  return picture;
}

TEST(ScoreResultsTest, AddsUpWhatHasAWeight) {
  const v1::RewardSpec spec = Spec({{"ocr", 1}, {"size", -0.5}, {"shadow", 0}});
  EXPECT_EQ(CombinedReward(spec, Picture("a", {0.5, 2, std::nullopt})), -0.5);
  EXPECT_EQ(CombinedReward(spec, Picture("a", {0.5, std::nullopt, 1})), std::nullopt);
  PictureScore damaged{.name = "b", .status = absl::InvalidArgumentError("a damaged PNG")};
  EXPECT_EQ(CombinedReward(spec, damaged), std::nullopt);
  EXPECT_EQ(WhyNoReward(spec, damaged), "a damaged PNG");
  EXPECT_EQ(WhyNoReward(spec, Picture("a", {0.5, std::nullopt, 1})), "size: out of order");
  EXPECT_EQ(WhyNoReward(spec, Picture("a", {0.5, 2, std::nullopt})), "");
}

TEST(ScoreResultsTest, SortsTheBestFirstAndWhatHasNoRewardLast) {
  const v1::RewardSpec spec = Spec({{"ocr", 1}});
  std::vector<PictureScore> pictures = {Picture("x", {std::nullopt}), Picture("b", {0.5}), Picture("c", {0.9}),
                                        Picture("a", {0.5})};
  SortByReward(spec, pictures);
  std::string order;
  for (const PictureScore& picture : pictures) order += picture.name;
  EXPECT_EQ(order, "cabx");
}

TEST(ScoreResultsTest, SummarisesEachScorer) {
  const v1::RewardSpec spec = Spec({{"ocr", 1}, {"size", 2}});
  std::vector<PictureScore> pictures = {Picture("a", {0.0, 1}), Picture("b", {1.0, std::nullopt})};
  (*pictures[0].scores.mutable_terms(0)->mutable_details())["exact"] = "false";
  (*pictures[1].scores.mutable_terms(0)->mutable_details())["exact"] = "true";
  const RewardSummary ocr = Summarise(spec, pictures, 0);
  EXPECT_EQ(ocr.pictures, 2u);
  EXPECT_EQ(ocr.mean, 0.5);
  EXPECT_EQ(ocr.standard_deviation, 0.5);
  EXPECT_EQ(ocr.exact, 1u);
  EXPECT_EQ(ocr.judged_exact, 2u);
  const std::string text = SummaryText(spec, {"tesseract", ""}, pictures);
  EXPECT_THAT(text, HasSubstr("ocr: mean 0.5000, standard deviation 0.5000, from 0.0000 to 1.0000, 2 pictures, "
                              "exact 50.0 % (tesseract)\n"));
  EXPECT_THAT(text, HasSubstr("size: mean 1.0000, standard deviation 0.0000, from 1.0000 to 1.0000, 1 pictures, "
                              "weight 2\n"));
  EXPECT_THAT(text, HasSubstr("together, by weight: mean 2.0000"));
}

TEST(ScoreResultsTest, ShowsTheBestAndTheWorstInATable) {
  const v1::RewardSpec spec = Spec({{"ocr", 1}});
  std::vector<PictureScore> pictures;
  for (int i = 0; i < 10; ++i) pictures.push_back(Picture("p" + std::to_string(i) + ".png", {1 - 0.1 * i}));
  pictures[9].prompt.set_text("a text that\x1b[2J is much too long for the few columns that such a terminal has");
  const std::string text = TableText(spec, pictures, 4, 60);
  EXPECT_THAT(text, StartsWith("   reward  file    prompt\n    1.000  p0.png  prompt of p0.png\n"));
  EXPECT_THAT(text, HasSubstr("6 more\n"));
  EXPECT_THAT(text, HasSubstr("p8.png"));
  EXPECT_THAT(text, Not(HasSubstr("p2.png")));
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
  size_t begin = 0;
  for (size_t end; (end = text.find('\n', begin)) != text.npos; begin = end + 1) EXPECT_LE(end - begin, 60u);
  const std::string all = TableText(spec, pictures, 40, 60);
  EXPECT_THAT(all, HasSubstr("p2.png"));
  EXPECT_THAT(all, Not(HasSubstr("more\n")));
  const std::string several =
      TableText(Spec({{"ocr", 1}, {"size", 1}}), {Picture("a.png", {0.5, std::nullopt})}, 4, 80);
  EXPECT_THAT(several, HasSubstr("   reward       ocr      size  file"));
  EXPECT_THAT(several, HasSubstr("        -     0.500         -  a.png"));
  EXPECT_THAT(several, HasSubstr("size: out of order"));
}

TEST(ScoreResultsTest, WritesTablesForPrograms) {
  const v1::RewardSpec spec = Spec({{"ocr", 1}, {"size", 1}});
  std::vector<PictureScore> pictures = {Picture("a,\"b\".png", {0.25, 0.5}), Picture("c.png", {0.5, std::nullopt})};
  (*pictures[0].prompt.mutable_metadata())["include"] = R"([{"class":"cat"}])";
  (*pictures[0].scores.mutable_terms(0)->mutable_details())["text"] = "CAT";
  pictures.push_back({.name = "d.png", .status = absl::InvalidArgumentError("a damaged PNG")});
  EXPECT_EQ(ScoresCsv(spec, pictures),
            "file_name,prompt,reward,ocr,size,error\n"
            "\"a,\"\"b\"\".png\",\"prompt of a,\"\"b\"\".png\",0.75,0.25,0.5,\n"
            "c.png,prompt of c.png,,0.5,,size: out of order\n"
            "d.png,,,,,a damaged PNG\n");
  const std::string lines = ScoresJsonLines(spec, pictures);
  const nlohmann::json first = nlohmann::json::parse(lines.substr(0, lines.find('\n')));
  EXPECT_EQ(first["file_name"], "a,\"b\".png");
  EXPECT_EQ(first["reward"], 0.75);
  EXPECT_EQ(first["metadata"]["include"][0]["class"], "cat");
  EXPECT_EQ(first["scorers"]["ocr"]["details"]["text"], "CAT");
  EXPECT_THAT(lines, HasSubstr(R"("error":{"kind":"BROKEN","message":"out of order"})"));
  EXPECT_THAT(lines, HasSubstr(R"("reward":null,"error":"a damaged PNG"})"));
}

}  // namespace
}  // namespace flowawr
