#include "reward_server/scorers/geneval_scorer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/file.h"
#include "common/tensor/safetensors.h"
#include "tests/reward_server/scorers/test_items.h"
#include "tests/testing/named_device.h"
#include "tests/testing/parity.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using testing::HasSubstr;
using Options = std::map<std::string, std::string>;

constexpr char kCircle[] = R"([{"class": "circle", "count": 1}])";

// Random models and what a straightforward Python pipeline makes of pictures, made once.
class GenevalScorerTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TempFolder;
    ASSERT_TRUE(RunPython("tests/reward_server/scorers/geneval_scorer_reference.py", {folder_->path()}));
    cases_ = new nlohmann::json(nlohmann::json::parse(*ReadFile(*folder_ / "cases.json")));
    const auto pictures = SafetensorsFile::Open(*folder_ / "pictures.safetensors");
    ASSERT_TRUE(pictures.ok()) << pictures.status();
    items_ = new std::vector<v1::ScoreItem>;
    for (size_t i = 0; i < cases_->size(); ++i) {
      const at::Tensor bytes = pictures->tensors().at(absl::StrCat(i)).contiguous();
      v1::ScoreItem item = MakeItem({static_cast<int>(bytes.size(0)), static_cast<int>(bytes.size(1)),
                                     std::string(static_cast<const char*>(bytes.const_data_ptr()), bytes.nbytes())},
                                    "a photo");
      const nlohmann::json& metadata = (*cases_)[i]["metadata"];
      (*item.mutable_metadata())["tag"] = metadata["tag"].get<std::string>();
      (*item.mutable_metadata())["include"] = metadata["include"].dump();
      items_->push_back(std::move(item));
    }
  }
  static void TearDownTestSuite() {
    delete items_;
    delete cases_;
    delete folder_;
  }

  static absl::StatusOr<std::shared_ptr<Scorer>> TryLoad(Options changes) {
    Options options = {{"detector", *folder_ / "detector"}, {"clip", *folder_ / "clip"}, {"confidence", "0.4"}};
    for (const auto& [name, value] : changes) options[name] = value;
    std::erase_if(options, [](const auto& option) { return option.second.empty(); });
    ScorerOptions given(std::move(options));
    return GenevalScorer::Load(given, {.threads = 1, .device = NameOf(TestPlacement(at::kFloat).device)});
  }
  static std::shared_ptr<Scorer> Load(Options changes = {}) {
    auto scorer = TryLoad(std::move(changes));
    EXPECT_TRUE(scorer.ok()) << scorer.status();
    return *scorer;
  }
  static v1::ScoreItem WithMetadata(Options metadata) {
    v1::ScoreItem item = (*items_)[0];
    item.clear_metadata();
    for (const auto& [name, value] : metadata) (*item.mutable_metadata())[name] = value;
    return item;
  }
  static v1::ScoreResult ScoreOne(Scorer& scorer, const v1::ScoreItem& item) {
    const std::vector<const v1::ScoreItem*> items = {&item};
    return scorer.Score(items, kAlwaysWanted)[0];
  }

  static TempFolder* folder_;
  static nlohmann::json* cases_;
  static std::vector<v1::ScoreItem>* items_;
};

TempFolder* GenevalScorerTest::folder_ = nullptr;
nlohmann::json* GenevalScorerTest::cases_ = nullptr;
std::vector<v1::ScoreItem>* GenevalScorerTest::items_ = nullptr;

TEST_F(GenevalScorerTest, ScoresAsAStraightforwardPythonPipelineDoes) {
  const auto strict = Load(), graded = Load({{"reward", "graded"}});
  const auto exact = strict->Score(Pointers(*items_), kAlwaysWanted);
  const auto marks = graded->Score(Pointers(*items_), kAlwaysWanted);
  double largest = 0;
  int right = 0;
  for (size_t i = 0; i < items_->size(); ++i) {
    ASSERT_TRUE(exact[i].has_reward()) << exact[i].error().message();
    const nlohmann::json& expected = (*cases_)[i];
    EXPECT_EQ(exact[i].reward() == 1, expected["exact"].get<bool>()) << i << ": " << exact[i].details().at("reason");
    EXPECT_EQ(exact[i].details().at("exact"), expected["exact"].get<bool>() ? "true" : "false");
    EXPECT_EQ(exact[i].details().contains("reason"), !expected["exact"].get<bool>());
    largest = std::max(largest, std::abs(marks[i].reward() - expected["graded"].get<double>()));
    right += exact[i].reward() == 1;
  }
  ExpectAtMost({"geneval, graded", "random Mask2Former and CLIP, 10 pictures", "a plain Python pipeline"}, "graded",
               "largest difference", largest, 1e-6);
  EXPECT_GT(right, 0);
  EXPECT_LT(right, static_cast<int>(items_->size()));
}

TEST_F(GenevalScorerTest, TellsWhatItFoundWithTheColoursThatWereAskedFor) {
  const auto results = Load()->Score(Pointers(*items_), kAlwaysWanted);
  for (size_t i = 0; i < items_->size(); ++i) {
    const nlohmann::json& expected = (*cases_)[i];
    int64_t objects = 0, found = 0;
    for (const auto& [name, boxes] : expected["objects"].items()) objects += static_cast<int64_t>(boxes.size());
    const std::string text = results[i].details().at("found");
    if (text == "nothing") {
      EXPECT_EQ(objects, 0);
      continue;
    }
    for (const std::string& part : std::vector<std::string>(absl::StrSplit(text, ", "))) found += std::stoll(part);
    EXPECT_EQ(found, objects) << text;
    const nlohmann::json& clause = expected["metadata"]["include"][0];
    const std::string name = clause["class"];
    if (!clause.contains("color") || clause["count"] != expected["objects"][name].size()) continue;
    for (const nlohmann::json& colour : expected["colours"][name]) EXPECT_THAT(text, HasSubstr(colour.get<std::string>()));
  }
}

TEST_F(GenevalScorerTest, GivesAPictureTheSameRewardInEveryBatch) {
  const auto scorer = Load({{"reward", "graded"}});
  const auto together = scorer->Score(Pointers(*items_), kAlwaysWanted);
  for (size_t i = 0; i < items_->size(); ++i)
    EXPECT_EQ(ScoreOne(*scorer, (*items_)[i]).DebugString(), together[i].DebugString());
}

TEST_F(GenevalScorerTest, AnswersEachPictureForItself) {
  const auto scorer = Load();
  const std::vector<v1::ScoreItem> items = {(*items_)[0], WithMetadata({}),
                                            WithMetadata({{"tag", "colors"}, {"include", R"([{"class": "cat"}])"}}),
                                            (*items_)[1]};
  const auto results = scorer->Score(Pointers(items), kAlwaysWanted);
  EXPECT_TRUE(results[0].has_reward());
  EXPECT_EQ(results[1].error().kind(), v1::ScoreError::BAD_INPUT);
  EXPECT_THAT(results[1].error().message(), HasSubstr("no tag"));
  EXPECT_EQ(results[2].error().kind(), v1::ScoreError::BAD_INPUT);
  EXPECT_THAT(results[2].error().message(), HasSubstr("knows no class \"cat\""));
  EXPECT_TRUE(results[3].has_reward());
}

TEST_F(GenevalScorerTest, ChecksPromptsBeforeARun) {
  const auto scorer = Load();
  PromptMetadata metadata;
  metadata["tag"] = "colors";
  metadata["include"] = R"([{"class": "square", "count": 1, "color": "red"}])";
  EXPECT_TRUE(scorer->CheckPrompt("a photo of a red square", metadata).ok());
  metadata["include"] = R"([{"class": "sqare", "count": 1}])";
  const absl::Status status = scorer->CheckPrompt("a photo of a sqare", metadata);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("did you mean \"square\"?"));
}

TEST_F(GenevalScorerTest, StopsWhenNobodyWaitsAnyMore) {
  const auto results = Load()->Score(Pointers(*items_), [](size_t i) {
    return i == 0 ? absl::CancelledError("nobody waits") : absl::OkStatus();
  });
  EXPECT_EQ(results[0].error().message(), "nobody waits");
  EXPECT_TRUE(results[1].has_reward());
}

TEST_F(GenevalScorerTest, TakesNoNumbersThatAreNone) {
  const TempFolder spoilt;
  std::filesystem::copy_file(*folder_ / "detector/config.json", spoilt / "config.json");
  auto tensors = SafetensorsFile::Open(*folder_ / "detector/model.safetensors")->tensors();
  tensors["class_predictor.bias"] = at::full({4}, std::numeric_limits<float>::quiet_NaN());
  ASSERT_TRUE(WriteSafetensors(spoilt / "model.safetensors", tensors).ok());
  const v1::ScoreResult result = ScoreOne(*Load({{"detector", spoilt.path()}, {"short_edge", "64"}}), (*items_)[0]);
  EXPECT_EQ(result.error().kind(), v1::ScoreError::BROKEN);
  EXPECT_THAT(result.error().message(), HasSubstr("not finite"));
}

TEST_F(GenevalScorerTest, RaisesTheThresholdWhereObjectsAreCounted) {
  const auto scorer = Load({{"counting_confidence", "1"}});
  const v1::ScoreItem counting = WithMetadata({{"tag", "counting"}, {"include", kCircle}});
  EXPECT_EQ(ScoreOne(*scorer, counting).details().at("found"), "nothing");
}

TEST_F(GenevalScorerTest, RunsItsDetectorBeforeItIsServed) {
  const auto scorer = Load();
  EXPECT_TRUE(ScoreOne(*scorer, scorer->ProbeItem()).has_reward());
}

TEST_F(GenevalScorerTest, SaysWhatScored) {
  const auto with_clip = Load(), by_pixels = Load({{"clip", ""}, {"colours", "pixels"}, {"reward", "official"}});
  EXPECT_EQ(with_clip->version(), "geneval strict, mask2former of 3 classes, colours by clip clip");
  EXPECT_EQ(by_pixels->version(), "geneval official, mask2former of 3 classes, colours by pixels");
  EXPECT_EQ(with_clip->weights_sha256().size(), 64);
  EXPECT_NE(with_clip->weights_sha256(), by_pixels->weights_sha256());
  EXPECT_GT(with_clip->memory_bytes(), by_pixels->memory_bytes());
  EXPECT_EQ(with_clip->parallel_calls(), 1);
}

TEST_F(GenevalScorerTest, RefusesOptionsThatDoNotFit) {
  const auto fault = [](Options changes) { return std::string(TryLoad(std::move(changes)).status().message()); };
  EXPECT_THAT(fault({{"detector", ""}}), HasSubstr("detector=FOLDER is missing"));
  EXPECT_THAT(fault({{"clip", ""}}), HasSubstr("clip=FOLDER is missing"));
  EXPECT_THAT(fault({{"colours", "pixels"}}), HasSubstr("of no use with colours=pixels"));
  EXPECT_THAT(fault({{"reward", "stric"}}), HasSubstr("did you mean \"strict\"?"));
  EXPECT_THAT(fault({{"confidence", "2"}}), HasSubstr("confidence"));
  EXPECT_THAT(fault({{"detector", "/nowhere"}}), HasSubstr("/nowhere"));
  EXPECT_THAT(fault({{"detector", *folder_ / "clip"}}), HasSubstr("config.json"));
}

TEST(PixelColoursTest, NamesFlatDrawings) {
  // A blue square on white, and the white around it.
  Image image{4, 4, std::string(4 * 4 * 3, '\xff')};
  at::Tensor mask = at::zeros({4, 4}, at::kBool);
  for (int i = 1; i < 3; ++i) {
    for (int j = 1; j < 3; ++j) {
      mask[i][j] = true;
      image.rgb.replace(static_cast<size_t>((i * 4 + j) * 3), 3, std::string("\x20\x40\xe0", 3));
    }
  }
  const std::vector<Instance> objects = {{.box = {1, 1, 3, 3}, .mask = mask},
                                         {.box = {0, 0, 4, 4}, .mask = mask.logical_not()}};
  EXPECT_THAT(*MakePixelColours()->Classify(image, "square", objects, [] { return absl::OkStatus(); }),
              testing::ElementsAre("blue", "white"));
}

TEST(ObjectOnGreyTest, ShowsNothingButTheObject) {
  const Image image{2, 3, "abcdefghijklmnopqr"};
  at::Tensor mask = at::zeros({2, 3}, at::kBool);
  mask[0][1] = true;
  mask[1][2] = true;
  const Image crop = ObjectOnGrey(image, {.box = {1, 0, 3, 2}, .mask = mask});
  EXPECT_EQ(crop.height, 2);
  EXPECT_EQ(crop.width, 2);
  EXPECT_EQ(crop.rgb, "def\x99\x99\x99\x99\x99\x99pqr");
}

}  // namespace
}  // namespace flowawr
