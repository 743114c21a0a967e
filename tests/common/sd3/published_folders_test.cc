// Folders as they are published load without conversion and give what the published libraries make of them.
#include <gmock/gmock.h>
#include <torch/types.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/sd3/clip_text_encoder.h"
#include "common/sd3/t5_encoder.h"
#include "common/sd3/tokenizer.h"
#include "common/sd3/transformer.h"
#include "common/sd3/vae.h"
#include "common/tensor/safetensors.h"
#include "tests/testing/peak_memory.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr double kTolerance = 1e-4;  // relative, f32

double RelativeError(const at::Tensor& actual, const at::Tensor& expected) {
  if (actual.sizes() != expected.sizes()) return 1e30;
  return ((actual - expected).norm() / expected.norm()).item<double>();
}

// Python makes all of them in one run, before the first test that needs one.
const std::string& Models() {
  static const TempFolder folder;
  static const bool is_made =
      static_cast<bool>(RunPython("tests/common/sd3/published_folders.py", {"models", folder.path()}));
  EXPECT_TRUE(is_made);
  return folder.path();
}

// Ways of publishing: what save_pretrained makes with `variant` and `max_shard_size`, see published_folders.py.
class PublishedModelTest : public testing::TestWithParam<const char*> {
 protected:
  std::string Folder(const std::string& model) const { return absl::StrCat(Models(), "/", model, "-", GetParam()); }
  std::map<std::string, at::Tensor> Case(const std::string& model) const {
    const auto file = SafetensorsFile::Open(Folder(model) + "/case.safetensors");
    EXPECT_TRUE(file.ok()) << file.status();
    return file.ok() ? file->tensors() : std::map<std::string, at::Tensor>();
  }
};
INSTANTIATE_TEST_SUITE_P(Ways, PublishedModelTest, testing::Values("file", "variant", "shards", "variant-shards"),
                         [](const auto& way) {
                           std::string name = way.param;
                           std::erase(name, '-');
                           return name;
                         });

TEST_P(PublishedModelTest, TransformersOfTheThreeShapesAgreeWithDiffusers) {
  const at::NoGradGuard no_grad;
  for (const char* shape : {"sd3-medium", "sd35-medium", "sd35-large"}) {
    SCOPED_TRACE(shape);
    const auto transformer = Transformer::Load(Folder(shape), at::kFloat);
    ASSERT_TRUE(transformer.ok()) << transformer.status();
    auto c = Case(shape);
    const at::Tensor velocity =
        (*transformer)
            ->Forward({c.at("latents"), c.at("sigma"), c.at("prompt_embeds"), c.at("pooled_prompt_embeds")}, nullptr);
    EXPECT_LT(RelativeError(velocity, c.at("velocity")), kTolerance);
  }
}

TEST_P(PublishedModelTest, TextEncodersAgreeWithTransformers) {
  const auto t5 = T5Encoder::Load(Folder("t5"), at::kFloat);
  ASSERT_TRUE(t5.ok()) << t5.status();
  auto c = Case("t5");
  EXPECT_LT(RelativeError((*t5)->Forward(c.at("ids")), c.at("hidden")), kTolerance);
  const auto clip = ClipTextEncoder::Load(Folder("clip"), at::kFloat);
  ASSERT_TRUE(clip.ok()) << clip.status();
  c = Case("clip");
  EXPECT_LT(RelativeError((*clip)->Forward(c.at("ids")).pooled, c.at("pooled")), kTolerance);
}

// Every way in which a tokenizer's folder may be stripped to one kind of file.
TEST(PublishedTokenizerTest, GivesTheIdsOfTransformersFromWhicheverFilesThereAre) {
  const std::vector<std::string> texts = {"",
                                          "a sign that says \"CAT\"",
                                          "caf\u00e9  \U0001f600 don't 42",
                                          "a b\tc\n",
                                          "<|endoftext|> </s> <pad>!!",
                                          "\u2581a \u65e5\u672c\u8a9e STRASSE",
                                          std::string(300, 'x')};
  const TempFolder folder;
  folder.Write("texts.json", nlohmann::json(texts).dump());
  const std::pair<const char*, std::vector<const char*>> cases[] = {
      {"tokenizer", {"tokenizer.json"}},   {"tokenizer", {"vocab.json", "merges.txt"}},
      {"tokenizer_2", {"tokenizer.json"}}, {"tokenizer_3", {"tokenizer.json"}},
      {"tokenizer_3", {"spiece.model"}},
  };
  std::vector<std::string> copies;
  for (const auto& [part, files] : cases) {
    copies.push_back(folder / absl::StrCat(part, "-", files[0]));
    fs::create_directory(copies.back());
    for (const char* file : {"tokenizer_config.json", files.front(), files.back()})
      fs::copy_file(absl::StrCat("models/tiny-sd3/", part, "/", file), absl::StrCat(copies.back(), "/", file),
                    fs::copy_options::skip_existing);
  }
  ASSERT_TRUE(RunPython("tests/common/sd3/published_folders.py", {"tokens", folder.path()}));
  for (const std::string& copy : copies) {
    SCOPED_TRACE(copy);
    const auto expected = nlohmann::json::parse(*ReadFile(copy + "/ids.json")).get<std::vector<std::vector<int64_t>>>();
    const auto tokenizer = Tokenizer::Load(copy);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    for (size_t i = 0; i < texts.size(); ++i) EXPECT_EQ(*(*tokenizer)->Encode(texts[i], 40), expected[i]) << texts[i];
  }
}

TEST(PublishedTokenizerTest, RefusesATokenizerJsonOfAnotherKind) {
  const TempFolder folder;
  const auto message = [&](const char* kind, const char* json) {
    folder.Write("tokenizer_config.json",
                 absl::StrCat(R"({"tokenizer_class": ")", kind, R"(", "model_max_length": 8})"));
    folder.Write("tokenizer.json", json);
    return std::string(Tokenizer::Load(folder.path()).status().message());
  };
  EXPECT_THAT(message("CLIPTokenizer", R"({"model": {"type": "Unigram"}})"), HasSubstr("expected \"BPE\""));
  EXPECT_THAT(message("T5Tokenizer", R"({"model": {"type": "BPE"}})"), HasSubstr("expected \"Unigram\""));
  EXPECT_THAT(message("CLIPTokenizer", R"({"model": {"type": "BPE", "vocab": {}, "merges": []}})"), HasSubstr("</w>"));
  EXPECT_THAT(message("CLIPTokenizer", R"({"model": {"type": "BPE", "end_of_word_suffix": "</w>", "vocab": {"a": 0},
                                                     "merges": [["a", "b", "c"]]}})"),
              HasSubstr("a merge must be two tokens"));
  EXPECT_THAT(message("T5Tokenizer", R"({"model": {"type": "Unigram", "vocab": [["a", "b"]]}})"), HasSubstr("piece 0"));
  EXPECT_THAT(message("T5Tokenizer", R"({"model": {"type": "Unigram", "vocab": [], "byte_fallback": true}})"),
              HasSubstr("byte_fallback"));
  EXPECT_THAT(message("T5Tokenizer", R"({"normalizer": {"type": "Precompiled", "precompiled_charsmap": "?"},
                                         "model": {"type": "Unigram", "vocab": [["a", 0]]}})"),
              HasSubstr("not base64"));
  EXPECT_THAT(message("T5Tokenizer", "[]"), HasSubstr("no model object"));
}

// The height of memory while a model of true width is loaded and used, against its weights in bfloat16.
class LoadingMemoryTest : public testing::Test {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "sanitizers have memory of their own";
#endif
    // LibTorch's own pages, once.
    ASSERT_TRUE(Transformer::Load("models/tiny-sd3/transformer", at::kBFloat16).ok());
    ASSERT_TRUE(Vae::Load("models/tiny-sd3/vae", at::kBFloat16).ok());
  }

  // The folder of a component; of the transformer of SD3-Medium one block: half a gigabyte in f32, of which the table
  // of positions is the largest tensor.
  static std::string Make(const TempFolder& folder, const std::string& component, const char* dtype) {
    EXPECT_TRUE(RunPython("tools/random_pipeline.py", {folder.path(), "--size", "sd3-medium", "--layers", "1", "--only",
                                                       component, "--dtype", dtype}));
    return absl::StrCat(folder.path(), "/", component);
  }
  static double WeightBytes(const std::string& folder) {
    const auto file = SafetensorsFile::Open(folder + "/diffusion_pytorch_model.safetensors");
    EXPECT_TRUE(file.ok()) << file.status();
    double bytes = 0;
    for (const auto& [name, tensor] : file->tensors()) bytes += 2 * static_cast<double>(tensor.numel());
    return bytes;
  }
  static void ExpectNear(const PeakMemory& memory, double weights) {
    const double peak = static_cast<double>(memory.Bytes());
    EXPECT_GT(peak, 0.8 * weights);
    EXPECT_LT(peak, 1.15 * weights);
  }
  static void ExpectTransformerNear(const std::string& folder) {
    const at::NoGradGuard no_grad;
    const double weights = WeightBytes(folder);
    const PeakMemory memory;
    const auto transformer = Transformer::Load(folder, at::kBFloat16);
    ASSERT_TRUE(transformer.ok()) << transformer.status();
    ExpectNear(memory, weights);
    EXPECT_EQ((*transformer)->fingerprint().size(), 64);
    ExpectNear(memory, weights);
    (*transformer)
        ->Forward({at::zeros({1, 16, 2, 2}), at::ones({1}), at::zeros({1, 1, 4096}), at::zeros({1, 2048})}, nullptr);
    ExpectNear(memory, weights);
  }
};

TEST_F(LoadingMemoryTest, StaysNearTheWeightsWhenTheyAreConverted) {
  const TempFolder folder;
  ExpectTransformerNear(Make(folder, "transformer", "float32"));
}

TEST_F(LoadingMemoryTest, StaysNearTheWeightsWhenTheyAreViewed) {
  const TempFolder folder;
  ExpectTransformerNear(Make(folder, "transformer", "bfloat16"));
}

TEST_F(LoadingMemoryTest, StaysNearTheWeightsWhenTheyAreRearranged) {
  const TempFolder folder;
  const std::string vae_folder = Make(folder, "vae", "bfloat16");
  const double weights = WeightBytes(vae_folder);
  const PeakMemory memory;
  const auto vae = Vae::Load(vae_folder, at::kBFloat16);
  ASSERT_TRUE(vae.ok()) << vae.status();
  ExpectNear(memory, weights);
}

}  // namespace
}  // namespace flowawr
