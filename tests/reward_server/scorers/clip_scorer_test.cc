#include "reward_server/scorers/clip_scorer.h"

#include <gmock/gmock.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "common/base/file.h"
#include "common/base/sha256.h"
#include "common/clip/clip_preprocess.h"
#include "common/clip/shared_clip.h"
#include "common/tensor/safetensors.h"
#include "reward_server/scorer_registry.h"
#include "tests/reward_server/scorers/test_items.h"
#include "tests/testing/named_device.h"
#include "tests/testing/parity.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using testing::HasSubstr;

// Random models of every kind and a straightforward Python scorer's rewards, made once.
class ClipScorerTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TempFolder;
    ASSERT_TRUE(RunPython("tests/reward_server/scorers/clip_scorer_reference.py", {folder_->path()}));
    cases_ = new nlohmann::json(nlohmann::json::parse(*ReadFile(*folder_ / "cases.json")));
    const auto pictures = SafetensorsFile::Open(*folder_ / "pictures.safetensors");
    ASSERT_TRUE(pictures.ok()) << pictures.status();
    items_ = new std::vector<v1::ScoreItem>;
    for (size_t i = 0; i < cases_->size(); ++i) {
      const at::Tensor bytes = pictures->tensors().at(std::to_string(i)).contiguous();
      items_->push_back(MakeItem({static_cast<int>(bytes.size(0)), static_cast<int>(bytes.size(1)),
                                  std::string(static_cast<const char*>(bytes.const_data_ptr()), bytes.nbytes())},
                                 (*cases_)[i]["prompt"].get<std::string>()));
    }
  }
  static void TearDownTestSuite() {
    delete items_;
    delete cases_;
    delete folder_;
  }

  static absl::StatusOr<std::shared_ptr<Scorer>> TryLoad(const std::string& kind,
                                                         std::map<std::string, std::string> options, int threads = 1) {
    static const std::map<std::string, ScorerFactory> kinds = {{"aesthetic", ClipScorer::LoadAesthetic},
                                                               {"clipscore", ClipScorer::LoadClipScore},
                                                               {"hpsv2", ClipScorer::LoadHpsV2},
                                                               {"pickscore", ClipScorer::LoadPickScore}};
    ScorerOptions given(std::move(options));
    return kinds.at(kind)(given, {.threads = threads, .device = NameOf(TestPlacement(at::kFloat).device)});
  }
  static std::shared_ptr<Scorer> Load(const std::string& kind, const std::string& model, int threads = 1) {
    std::map<std::string, std::string> options = {{"model", *folder_ / model}};
    if (kind == "aesthetic") options["head"] = *folder_ / "head";
    auto scorer = TryLoad(kind, std::move(options), threads);
    EXPECT_TRUE(scorer.ok()) << scorer.status();
    return scorer.value_or(nullptr);
  }

  static std::vector<double> Rewards(Scorer& scorer, const std::vector<v1::ScoreItem>& items) {
    std::vector<double> rewards;
    for (const v1::ScoreResult& result : scorer.Score(Pointers(items), kAlwaysWanted)) {
      EXPECT_FALSE(result.has_error()) << result.error().message();
      rewards.push_back(result.reward());
    }
    return rewards;
  }

  // Against the column `name` of the Python scorer.
  static void ExpectParity(const std::string& name, Scorer& scorer) {
    const std::vector<double> rewards = Rewards(scorer, *items_);
    ASSERT_EQ(rewards.size(), cases_->size());
    for (size_t i = 0; i < rewards.size(); ++i) {
      const double expected = (*cases_)[i][name].get<double>();
      ExpectAtMost({name + " reward, f32", "6 pictures of small random models",
                    "a straightforward Python scorer (torch, transformers, Pillow)"},
                   std::to_string(i), "error beside 1 or the reward",
                   std::abs(rewards[i] - expected) / std::max(1.0, std::abs(expected)), 1e-5);
    }
  }

  static TempFolder* folder_;
  static nlohmann::json* cases_;
  static std::vector<v1::ScoreItem>* items_;
};
TempFolder* ClipScorerTest::folder_ = nullptr;
nlohmann::json* ClipScorerTest::cases_ = nullptr;
std::vector<v1::ScoreItem>* ClipScorerTest::items_ = nullptr;

TEST_F(ClipScorerTest, RewardsEqualAStraightforwardPythonScorers) {
  ExpectParity("pickscore", *Load("pickscore", "clip"));
  ExpectParity("clipscore", *Load("clipscore", "clip"));
  ExpectParity("clipscore_open_clip", *Load("clipscore", "hps"));
  ExpectParity("hpsv2", *Load("hpsv2", "hps"));
  ExpectParity("aesthetic", *Load("aesthetic", "clip"));
}

TEST_F(ClipScorerTest, BFloat16IsCloseAndSaysSo) {
  auto scorer = TryLoad("pickscore", {{"model", *folder_ / "clip"}, {"dtype", "bfloat16"}});
  ASSERT_TRUE(scorer.ok()) << scorer.status();
  EXPECT_EQ((*scorer)->version(), "clip bfloat16");
  const std::vector<double> rewards = Rewards(**scorer, *items_);
  for (size_t i = 0; i < rewards.size(); ++i)
    EXPECT_NEAR(rewards[i], (*cases_)[i]["pickscore"].get<double>(), 0.05) << i;
}

TEST_F(ClipScorerTest, TheSameItemHasTheSameRewardInAnyBatch) {
  const std::vector<double> together = Rewards(*Load("pickscore", "clip"), *items_);
  for (size_t i = 0; i < items_->size(); ++i)  // each with a scorer that remembers nothing
    EXPECT_EQ(Rewards(*Load("pickscore", "clip"), {(*items_)[i]})[0], together[i]) << i;
}

TEST_F(ClipScorerTest, ScorersOfOneFolderShareWeightsAndEmbeddings) {
  const auto pickscore = Load("pickscore", "clip"), aesthetic = Load("aesthetic", "clip"),
             clipscore = Load("clipscore", "clip");
  const SharedClip& clip = dynamic_cast<const ClipScorer&>(*pickscore).clip();
  EXPECT_EQ(&dynamic_cast<const ClipScorer&>(*aesthetic).clip(), &clip);
  Rewards(*pickscore, *items_);
  const int64_t pictures = clip.images_embedded(), prompts = clip.texts_embedded();
  EXPECT_EQ(pictures, static_cast<int64_t>(items_->size()));
  Rewards(*aesthetic, *items_);  // makes pictures ready in the same way
  EXPECT_EQ(clip.images_embedded(), pictures);
  Rewards(*clipscore, *items_);  // in another way: only the prompts are the same
  EXPECT_EQ(clip.texts_embedded(), prompts);
}

TEST_F(ClipScorerTest, SeesAllOfAPictureWhereTheModelSaysSo) {
  std::filesystem::copy(*folder_ / "clip", *folder_ / "whole");
  folder_->Write("whole/preprocessor_config.json", R"({"do_center_crop": false, "size": {"height": 56, "width": 56}})");
  const auto scorer = Load("pickscore", "whole");
  const ClipModel& model = dynamic_cast<const ClipScorer&>(*scorer).clip().model();
  const v1::ScoreItem& item = (*items_)[1];  // twice as wide as high
  const Image image{static_cast<int>(item.height()), static_cast<int>(item.width()), item.image_rgb()};
  const at::Tensor picture = model.ImageEmbeds({*ClipPixels(image, ClipPreprocess::kStretched, 56)});
  const at::Tensor text = *model.TextEmbeds({item.prompt()});
  const double cosine = (Normalised(picture) * Normalised(text)).sum().item<double>();
  EXPECT_NEAR(Rewards(*scorer, {item})[0], model.logit_scale() * cosine / 26, 1e-6);
  EXPECT_GT(std::abs(Rewards(*scorer, {item})[0] - (*cases_)[1]["pickscore"].get<double>()), 1e-3);
}

TEST_F(ClipScorerTest, TellsWhatScored) {
  const auto pickscore = Load("pickscore", "clip"), aesthetic = Load("aesthetic", "clip");
  EXPECT_EQ(pickscore->version(), "clip float32");
  EXPECT_EQ(aesthetic->version(), "head on clip float32");
  EXPECT_EQ(pickscore->weights_sha256(), HexSha256(*ReadFile(*folder_ / "clip/model.safetensors")));
  EXPECT_NE(aesthetic->weights_sha256(), pickscore->weights_sha256());
  EXPECT_GT(aesthetic->memory_bytes(), pickscore->memory_bytes());
  EXPECT_EQ(pickscore->parallel_calls(), 1);
  EXPECT_EQ(pickscore->recommended_batch(), 8);
}

TEST_F(ClipScorerTest, DetailsTellTheCosineAndWhatWasCutOff) {
  const auto results = Load("pickscore", "clip")->Score(Pointers(*items_), kAlwaysWanted);
  const double scale = std::exp(4.4);
  for (const v1::ScoreResult& result : results)
    EXPECT_NEAR(std::stod(result.details().at("cosine")) * scale / 26, result.reward(), 1e-4);
  EXPECT_FALSE(results[0].details().contains("cut_off"));
  EXPECT_THAT(results[5].details().at("cut_off"), HasSubstr("cat"));
}

TEST_F(ClipScorerTest, AnItemThatCannotBeScoredIsBadInputAndTheOthersAreScored) {
  const auto scorer = Load("pickscore", "clip");
  const std::vector<v1::ScoreItem> items = {(*items_)[0], MakeItem(Plain(8, 8), " \n"), MakeItem(Plain(1, 65), "thin"),
                                            (*items_)[1]};
  const auto results = scorer->Score(Pointers(items), kAlwaysWanted);
  EXPECT_NEAR(results[0].reward(), (*cases_)[0]["pickscore"].get<double>(), 1e-5);
  EXPECT_EQ(results[1].error().kind(), v1::ScoreError::BAD_INPUT);
  EXPECT_THAT(results[1].error().message(), HasSubstr("the prompt is empty"));
  EXPECT_EQ(results[2].error().kind(), v1::ScoreError::BAD_INPUT);
  EXPECT_THAT(results[2].error().message(), HasSubstr("too long and thin"));
  EXPECT_NEAR(results[3].reward(), (*cases_)[1]["pickscore"].get<double>(), 1e-5);
  EXPECT_TRUE(absl::IsInvalidArgument(scorer->CheckPrompt("", {})));
  EXPECT_TRUE(scorer->CheckPrompt("a cat", {}).ok());
  // Which looks at no prompt.
  EXPECT_TRUE(Load("aesthetic", "clip")->CheckPrompt("", {}).ok());
  EXPECT_EQ(Rewards(*Load("aesthetic", "clip"), {MakeItem(Plain(8, 8), "")}).size(), 1u);
}

TEST_F(ClipScorerTest, ANaNWithinTheWeightsIsNoFiniteReward) {
  const auto results = Load("pickscore", "nan")->Score(Pointers(*items_), kAlwaysWanted);
  for (const v1::ScoreResult& result : results) EXPECT_TRUE(std::isnan(result.reward()));  // the runner's BROKEN
}

TEST_F(ClipScorerTest, EndsWhenNobodyWaits) {
  const auto scorer = Load("pickscore", "clip");
  const auto results = scorer->Score(Pointers(*items_), [](size_t i) {
    return i < 2 ? absl::OkStatus() : absl::CancelledError("the caller has gone");
  });
  ASSERT_EQ(results.size(), items_->size());
  for (size_t i = 0; i < results.size(); ++i) {
    EXPECT_EQ(results[i].has_error(), i >= 2);
    EXPECT_THAT(results[i].error().message(), HasSubstr(i >= 2 ? "the caller has gone" : ""));
  }
}

TEST_F(ClipScorerTest, WhatCannotBeLoadedIsRefusedWithWhatToDo) {
  const auto error = [](const std::string& kind, std::map<std::string, std::string> options) {
    return std::string(TryLoad(kind, std::move(options)).status().message());
  };
  EXPECT_THAT(error("pickscore", {}), HasSubstr("hf download yuvalkirstain/PickScore_v1"));
  EXPECT_THAT(error("hpsv2", {}), HasSubstr("tools/convert_rewards hpsv2"));
  EXPECT_THAT(error("pickscore", {{"model", "yuvalkirstain/PickScore_v1"}}),
              HasSubstr("hf download yuvalkirstain/PickScore_v1 --local-dir PickScore_v1"));
  EXPECT_THAT(error("aesthetic", {{"model", *folder_ / "clip"}}), HasSubstr("tools/convert_rewards aesthetic"));
  EXPECT_THAT(error("aesthetic", {{"model", *folder_ / "clip"}, {"head", *folder_ / "nothing"}}),
              HasSubstr("nothing/model.safetensors is missing"));
  EXPECT_THAT(error("aesthetic", {{"model", *folder_ / "clip"}, {"head", *folder_ / "clip"}}),
              HasSubstr("tensor \"layers.0.weight\" is missing"));
  EXPECT_THAT(error("pickscore", {{"model", *folder_ / "clip"}, {"dtype", "float16"}}), HasSubstr("bfloat16"));
  EXPECT_THAT(error("pickscore", {{"model", *folder_ / "clip"}, {"head", "x"}}), HasSubstr("head"));
  EXPECT_THAT(error("pickscore", {{"model", *folder_ / "head"}}), HasSubstr("is no CLIP folder"));
}

}  // namespace
}  // namespace flowawr
