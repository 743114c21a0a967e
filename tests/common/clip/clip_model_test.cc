#include "common/clip/clip_model.h"

#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/base/file.h"
#include "common/base/sha256.h"
#include "common/tensor/safetensors.h"
#include "tests/testing/named_device.h"
#include "tests/testing/parity.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"
#include "tests/testing/tensor_error.h"

namespace flowawr {
namespace {

using testing::HasSubstr;

constexpr char kHfClass[] = "transformers CLIPModel";
constexpr char kOpenClipClass[] = "OpenCLIP's layers in torch (nn.MultiheadAttention)";
constexpr char kSizes[] =
    "10 random ones, 64 to 160 wide, up to 4 layers and 257 tokens; both layouts, quick_gelu and gelu";
constexpr const char* kModels[] = {
    "hf_quick_gelu", "hf_gelu",       "hf_one_layer",   "hf_sharded",           "hf_old_config",
    "hf_legacy_eos", "hf_257_tokens", "open_clip_gelu", "open_clip_quick_gelu", "open_clip_257_tokens"};

std::string ClassOf(const std::string& name) { return name.starts_with("hf") ? kHfClass : kOpenClipClass; }

// Random models by the real classes, made once.
class ClipModelTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    models_ = new TempFolder;
    ASSERT_TRUE(RunPython("tests/common/clip/clip_reference.py", {models_->path()}));
    texts_ = new std::vector<std::string>(nlohmann::json::parse(*ReadFile(*models_ / "texts.json")));
  }
  static void TearDownTestSuite() {
    delete texts_;
    delete models_;
  }

  static std::unique_ptr<const ClipModel> Load(const std::string& name, at::ScalarType dtype = at::kFloat) {
    auto model = ClipModel::Load(*models_ / name, TestPlacement(dtype));
    EXPECT_TRUE(model.ok()) << model.status();
    return model.ok() ? *std::move(model) : nullptr;
  }

  static std::map<std::string, at::Tensor> Expected(const std::string& name) {
    const auto file = SafetensorsFile::Open(*models_ / name + "/expected/expected.safetensors");
    EXPECT_TRUE(file.ok()) << file.status();
    return file.ok() ? file->tensors() : std::map<std::string, at::Tensor>();
  }

  // A copy of a model's folder to spoil.
  static std::string Copy(const std::string& name) {
    const std::string copy = *models_ / "changed";
    std::filesystem::remove_all(copy);
    std::filesystem::copy(*models_ / name, copy);
    return copy;
  }
  static std::string Changed(const std::string& name, const std::string& file, const std::string& from,
                             const std::string& to) {
    const std::string copy = Copy(name);
    const std::string text = *ReadFile(copy + "/" + file);
    EXPECT_THAT(text, HasSubstr(from));
    models_->Write("changed/" + file, absl::StrReplaceAll(text, {{from, to}}));
    return copy;
  }
  static std::string Error(const std::string& folder) {
    return std::string(ClipModel::Load(folder, at::kFloat).status().message());
  }

  static TempFolder* models_;
  static std::vector<std::string>* texts_;
};
TempFolder* ClipModelTest::models_ = nullptr;
std::vector<std::string>* ClipModelTest::texts_ = nullptr;

TEST_F(ClipModelTest, AgreesWithTheRealClasses) {
  for (const char* name : kModels) {
    const auto model = Load(name);
    ASSERT_NE(model, nullptr);
    auto expected = Expected(name);
    const std::vector<at::Tensor> pixels = expected.at("pixels").unbind();
    const at::Tensor images = model->ImageEmbeds(pixels);
    const auto texts = model->TextEmbeds(*texts_);
    ASSERT_TRUE(texts.ok()) << texts.status();
    ExpectAtMost({"CLIP image_embeds, f32", kSizes, ClassOf(name)}, name, "relative error",
                 RelativeError(images, expected.at("image_embeds")), 1e-5);
    ExpectAtMost({"CLIP text_embeds, f32", kSizes, ClassOf(name)}, name, "relative error",
                 RelativeError(*texts, expected.at("text_embeds")), 1e-5);
    EXPECT_NEAR(model->logit_scale(), expected.at("logit_scale").item<double>(), 1e-4) << name;
    EXPECT_FALSE(images.requires_grad());
  }
}

// Over all models: of a single small one the ratio is mostly luck of rounding.
TEST_F(ClipModelTest, IsInLowPrecisionNoFurtherOffThanTheRealClasses) {
  for (const std::string what : {"image_embeds", "text_embeds"}) {
    double ours = 0, theirs = 0;
    for (const char* name : kModels) {
      const auto model = Load(name, at::kBFloat16);
      ASSERT_NE(model, nullptr);
      auto expected = Expected(name);
      const at::Tensor embeds =
          what == "image_embeds" ? model->ImageEmbeds(expected.at("pixels").unbind()) : *model->TextEmbeds(*texts_);
      ours += std::pow(RelativeError(embeds, expected.at(what)), 2);
      theirs += std::pow(RelativeError(expected.at(what + "_bf16"), expected.at(what)), 2);
    }
    ExpectNoFurther({"CLIP " + what + ", bf16", kSizes, absl::StrCat(kHfClass, "; ", kOpenClipClass)}, "all models",
                    std::sqrt(ours), std::sqrt(theirs));
  }
}

TEST_F(ClipModelTest, BitsOfAnEmbeddingDoNotDependOnItsBatch) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const auto model = Load("hf_257_tokens", dtype);
    const std::vector<at::Tensor> pixels = Expected("hf_257_tokens").at("pixels").unbind();
    const at::Tensor all = model->ImageEmbeds(pixels);
    const at::Tensor texts = *model->TextEmbeds(*texts_);
    for (size_t i = 0; i < pixels.size(); ++i)
      EXPECT_TRUE(at::equal(model->ImageEmbeds({pixels[i]})[0], all[static_cast<int64_t>(i)])) << i;
    for (size_t i = 0; i < texts_->size(); ++i)
      EXPECT_TRUE(at::equal((*model->TextEmbeds({(*texts_)[i]}))[0], texts[static_cast<int64_t>(i)])) << i;
  }
}

TEST_F(ClipModelTest, BatchesAreWhatIsEmbeddedOneByOne) {
  for (const char* name : {"hf_257_tokens", "hf_legacy_eos", "open_clip_gelu"}) {
    const auto model = Load(name);
    const std::vector<at::Tensor> pixels = Expected(name).at("pixels").unbind();
    EXPECT_LT(RelativeError(*model->ImageEmbeds(pixels, kToTheEnd, 3), model->ImageEmbeds(pixels)), 1e-5) << name;
    EXPECT_LT(RelativeError(*model->TextEmbeds(*texts_, kToTheEnd, 3), *model->TextEmbeds(*texts_)), 1e-5) << name;
  }
}

TEST_F(ClipModelTest, ThreadsAgree) {
  const auto model = Load("hf_257_tokens");
  const std::vector<at::Tensor> pixels = Expected("hf_257_tokens").at("pixels").unbind();
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const at::Tensor one = model->ImageEmbeds(pixels);
  at::set_num_threads(3);
  EXPECT_LT(RelativeError(model->ImageEmbeds(pixels), one), 1e-5);
  at::set_num_threads(before);
}

TEST_F(ClipModelTest, EndsWhenItIsToldTo) {
  const auto model = Load("hf_quick_gelu");
  const std::vector<at::Tensor> pixels = Expected("hf_quick_gelu").at("pixels").unbind();
  int layers = 0;
  const auto until_second_layer = [&] {
    return ++layers > 1 ? absl::CancelledError("nobody waits") : absl::OkStatus();
  };
  EXPECT_EQ(model->ImageEmbeds(pixels, until_second_layer).status(), absl::CancelledError("nobody waits"));
  EXPECT_EQ(layers, 2);
  EXPECT_EQ(model->TextEmbeds(*texts_, [] { return absl::CancelledError("nobody waits"); }).status(),
            absl::CancelledError("nobody waits"));
}

TEST_F(ClipModelTest, TellsWhatOfALongTextItLeavesOut) {
  const auto model = Load("hf_quick_gelu");
  EXPECT_EQ(model->CutOff("a photo of a cat"), "");
  std::string text;
  for (int i = 0; i < 100; ++i) text += "cat ";
  const std::string cut_off = model->CutOff(text);
  EXPECT_THAT(cut_off, HasSubstr("cat"));
  EXPECT_LT(cut_off.size(), text.size());
  EXPECT_TRUE(at::equal(*model->TextEmbeds({text}), *model->TextEmbeds({text + "dog"})));
}

TEST_F(ClipModelTest, NamesItsWeights) {
  const std::string file = *models_ / "hf_quick_gelu/model.safetensors";
  const auto model = Load("hf_quick_gelu");
  EXPECT_EQ(model->weights_sha256(), HexSha256(*ReadFile(file)));
  EXPECT_NEAR(static_cast<double>(model->memory_bytes()), static_cast<double>(std::filesystem::file_size(file)),
              2e4);  // but the header
  std::vector<std::string> shards;
  for (const auto& entry : std::filesystem::directory_iterator(*models_ / "hf_sharded"))
    if (entry.path().extension() == ".safetensors") shards.push_back(entry.path().filename().string());
  ASSERT_GT(shards.size(), 1u);
  std::sort(shards.begin(), shards.end());
  std::string lines;
  for (const std::string& shard : shards)
    lines += HexSha256(*ReadFile(*models_ / "hf_sharded/" + shard)) + "  " + shard + "\n";
  EXPECT_EQ(Load("hf_sharded")->weights_sha256(), HexSha256(lines));
}

TEST_F(ClipModelTest, AFolderThatIsNotThereIsRefusedWithTheCommandThatFetchesIt) {
  const auto missing = ClipModel::Load("yuvalkirstain/PickScore_v1", at::kFloat).status();
  EXPECT_TRUE(absl::IsNotFound(missing));
  EXPECT_THAT(missing.message(), HasSubstr("hf download yuvalkirstain/PickScore_v1 --local-dir PickScore_v1"));
  EXPECT_THAT(Error(*models_ / "nothing"), HasSubstr("hf download ORGANISATION/MODEL --local-dir"));
  std::filesystem::create_directories(*models_ / "empty");
  EXPECT_THAT(Error(*models_ / "empty"), HasSubstr("neither config.json nor open_clip_config.json"));
  std::string copy = Copy("hf_quick_gelu");
  std::filesystem::remove(copy + "/tokenizer_config.json");
  EXPECT_THAT(Error(copy), HasSubstr("has no tokenizer"));
  copy = Copy("hf_quick_gelu");
  std::filesystem::remove(copy + "/model.safetensors");
  EXPECT_THAT(Error(copy), HasSubstr("model.safetensors is missing"));
  copy = Copy("open_clip_gelu");
  std::filesystem::remove(copy + "/open_clip_model.safetensors");
  EXPECT_THAT(Error(copy), HasSubstr("tools/convert_rewards"));
}

TEST_F(ClipModelTest, WeightsAndConfigurationsThatDoNotFitAreRefusedByName) {
  EXPECT_THAT(Error(Changed("hf_quick_gelu", "config.json", "\"num_hidden_layers\": 3", "\"num_hidden_layers\": 4")),
              HasSubstr("vision_model.encoder.layers.3.layer_norm1.weight\" is missing"));
  EXPECT_THAT(
      Error(Changed("hf_quick_gelu", "config.json", "\"intermediate_size\": 144", "\"intermediate_size\": 145")),
      HasSubstr("vision_model.encoder.layers.0.mlp.fc1.weight\" is [144,64], expected [145,64]"));
  EXPECT_THAT(Error(Changed("hf_quick_gelu", "config.json", "\"num_hidden_layers\": 3", "\"num_hidden_layers\": 2")),
              HasSubstr("layers.2.layer_norm1.bias\" [64] is unexpected"));
  EXPECT_THAT(Error(Changed("hf_quick_gelu", "config.json", "\"quick_gelu\"", "\"mish\"")),
              HasSubstr("hidden_act \"mish\" is not known"));
  EXPECT_THAT(Error(Changed("hf_quick_gelu", "config.json", "\"patch_size\": 14", "\"patch_size\": 15")),
              HasSubstr("image_size must be a multiple of patch_size"));
  EXPECT_THAT(Error(Changed("hf_quick_gelu", "config.json", "\"num_channels\": 3", "\"num_channels\": 4")),
              HasSubstr("num_channels must be 3"));
  EXPECT_THAT(Error(Changed("hf_quick_gelu", "config.json", "\"CLIPModel\"", "\"SiglipModel\"")),
              HasSubstr("architectures names SiglipModel, expected CLIPModel"));
  EXPECT_THAT(Error(Changed("open_clip_gelu", "open_clip_config.json", "\"layers\": 3", "\"layers\": 4")),
              HasSubstr("visual.transformer.resblocks.3.ln_1.weight\" is missing"));
  EXPECT_THAT(Error(Changed("open_clip_gelu", "open_clip_config.json", "\"embed_dim\": 40", "\"embed_dim\": 41")),
              HasSubstr("\"visual.proj\" is [64,40], expected [64,41]"));
  EXPECT_THAT(
      Error(Changed("open_clip_gelu", "open_clip_config.json", "\"quick_gelu\": false", "\"custom_text\": true")),
      HasSubstr("custom_text is set"));
  EXPECT_THAT(Error(Changed("open_clip_gelu", "open_clip_config.json", "\"head_width\"",
                            "\"timm_model_name\": \"x\", \"head_width\"")),
              HasSubstr("timm_model_name is set"));
}

TEST_F(ClipModelTest, ATruncatedFileIsRefused) {
  const std::string copy = Copy("hf_quick_gelu"), file = copy + "/model.safetensors";
  std::filesystem::resize_file(file, std::filesystem::file_size(file) / 2);
  EXPECT_TRUE(absl::IsInvalidArgument(ClipModel::Load(copy, at::kFloat).status()));
  EXPECT_THAT(Error(copy), HasSubstr("model.safetensors"));
}

}  // namespace
}  // namespace flowawr
