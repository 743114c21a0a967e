#include <gmock/gmock.h>
#include <torch/types.h>

#include <filesystem>

#include "absl/strings/str_replace.h"
#include "common/base/file.h"
#include "common/sd3/clip_text_encoder.h"
#include "common/sd3/t5_encoder.h"
#include "common/tensor/safetensors.h"
#include "tests/testing/named_device.h"
#include "tests/testing/parity.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"
#include "tests/testing/tensor_error.h"

namespace flowawr {
namespace {

using testing::HasSubstr;

constexpr char kLargest[] = "largest error / largest value";

// On another device sums have another order than in transformers' own.
double F32Bound() { return TestPlacement(at::kFloat).device.is_cpu() ? 1e-5 : 3e-5; }

double LargestError(const at::Tensor& actual, const at::Tensor& expected) {
  if (actual.sizes() != expected.sizes()) return std::numeric_limits<double>::infinity();
  return (actual.to(at::kCPU) - expected).abs().max().item<double>() / expected.abs().max().item<double>();
}

// Random encoders by transformers, made once.
class TextEncoderTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    models_ = new TempFolder;
    ASSERT_TRUE(RunPython("tests/common/sd3/text_encoder_reference.py", {models_->path()}));
  }
  static void TearDownTestSuite() {
    delete models_;
    models_ = nullptr;
  }

  static std::map<std::string, at::Tensor> Expected(const std::string& name) {
    const auto file = SafetensorsFile::Open(*models_ / name + "/expected.safetensors");
    EXPECT_TRUE(file.ok()) << file.status();
    return file.ok() ? file->tensors() : std::map<std::string, at::Tensor>();
  }

  // Where the models are.
  static at::Tensor Ids(const std::map<std::string, at::Tensor>& expected) {
    return expected.at("ids").to(TestPlacement(at::kFloat).device);
  }

  // A copy of the model with one change in its config.json.
  static std::string Changed(const std::string& name, const std::string& from, const std::string& to) {
    const std::string copy = *models_ / "changed";
    std::filesystem::remove_all(copy);
    std::filesystem::copy(*models_ / name, copy);
    const std::string config = *ReadFile(copy + "/config.json");
    EXPECT_THAT(config, HasSubstr(from));
    models_->Write("changed/config.json", absl::StrReplaceAll(config, {{from, to}}));
    return copy;
  }

  static TempFolder* models_;
};
TempFolder* TextEncoderTest::models_ = nullptr;

constexpr char kClipSizes[] = "8 random ones, 24 and 192 wide, up to 6 layers and 77 tokens; quick_gelu and gelu";
constexpr char kClipClass[] = "transformers CLIPTextModelWithProjection";
constexpr char kT5Sizes[] = "6 random ones, 24 and 192 wide, up to 4 layers and 300 tokens; gated and plain";
constexpr char kT5Class[] = "transformers T5EncoderModel";
constexpr const char* kClips[] = {"clip_quick_gelu", "clip_gelu",    "clip_short",  "clip_one_layer",
                                  "clip_legacy_eos", "clip_low_eos", "clip_l_like", "clip_g_like"};
constexpr const char* kT5s[] = {"t5_plain", "t5_gated", "t5_gated_silu", "t5_few_buckets", "t5_far", "t5_xxl_like"};

TEST_F(TextEncoderTest, ClipAgreesWithTransformers) {
  const ParityCheck hidden{"CLIP hidden states, f32", kClipSizes, kClipClass};
  const ParityCheck pooled{"CLIP pooled output, f32", kClipSizes, kClipClass};
  for (const char* name : kClips) {
    const auto encoder = ClipTextEncoder::Load(*models_ / name, TestPlacement(at::kFloat));
    ASSERT_TRUE(encoder.ok()) << encoder.status();
    auto expected = Expected(name);
    const ClipTextEncoder::Output output = (*encoder)->Forward(Ids(expected));
    ExpectAtMost(hidden, name, kLargest, LargestError(output.hidden, expected.at("hidden")), F32Bound());
    ExpectAtMost(pooled, name, kLargest, LargestError(output.pooled, expected.at("pooled")), F32Bound());
    EXPECT_FALSE(output.pooled.requires_grad());
  }
}

TEST_F(TextEncoderTest, T5AgreesWithTransformers) {
  const ParityCheck hidden{"T5 hidden states, f32", kT5Sizes, kT5Class};
  for (const char* name : kT5s) {
    const auto encoder = T5Encoder::Load(*models_ / name, TestPlacement(at::kFloat));
    ASSERT_TRUE(encoder.ok()) << encoder.status();
    auto expected = Expected(name);
    ExpectAtMost(hidden, name, kLargest, LargestError((*encoder)->Forward(Ids(expected)), expected.at("hidden")),
                 F32Bound());
  }
}

TEST_F(TextEncoderTest, IsInLowPrecisionNoFurtherOffThanTransformers) {
  const auto expect_no_further = [](const ParityCheck& check, const char* name, const at::Tensor& ours,
                                    const at::Tensor& theirs, const at::Tensor& exact) {
    EXPECT_EQ(ours.scalar_type(), at::kBFloat16);
    ExpectNoFurther(check, name, RelativeError(ours, exact), RelativeError(theirs, exact));
  };
  for (const char* name : kClips) {
    const auto encoder = ClipTextEncoder::Load(*models_ / name, TestPlacement(at::kBFloat16));
    ASSERT_TRUE(encoder.ok()) << encoder.status();
    auto expected = Expected(name);
    const ClipTextEncoder::Output output = (*encoder)->Forward(Ids(expected));
    expect_no_further({"CLIP hidden states, bf16", kClipSizes, kClipClass}, name, output.hidden,
                      expected.at("hidden_bf16"), expected.at("hidden"));
    expect_no_further({"CLIP pooled output, bf16", kClipSizes, kClipClass}, name, output.pooled,
                      expected.at("pooled_bf16"), expected.at("pooled"));
  }
  for (const char* name : kT5s) {
    const auto encoder = T5Encoder::Load(*models_ / name, TestPlacement(at::kBFloat16));
    ASSERT_TRUE(encoder.ok()) << encoder.status();
    auto expected = Expected(name);
    expect_no_further({"T5 hidden states, bf16", kT5Sizes, kT5Class}, name, (*encoder)->Forward(Ids(expected)),
                      expected.at("hidden_bf16"), expected.at("hidden"));
  }
}

TEST_F(TextEncoderTest, ConfigurationsThatDoNotFitAreRefusedWithTheReason) {
  const auto clip_error = [](const std::string& folder) {
    return std::string(ClipTextEncoder::Load(folder, at::kFloat).status().message());
  };
  EXPECT_THAT(clip_error(Changed("clip_gelu", "\"hidden_act\": \"gelu\"", "\"hidden_act\": \"mish\"")),
              HasSubstr("hidden_act \"mish\" is not known"));
  EXPECT_THAT(clip_error(Changed("clip_gelu", "\"num_attention_heads\": 3", "\"num_attention_heads\": 5")),
              HasSubstr("multiple of num_attention_heads"));
  EXPECT_THAT(clip_error(Changed("clip_gelu", "\"num_hidden_layers\": 3", "\"num_hidden_layers\": 4")),
              HasSubstr("text_model.encoder.layers.3.layer_norm1.weight"));
  EXPECT_THAT(clip_error(Changed("clip_gelu", "\"vocab_size\": 40", "\"vocab_size\": 41")),
              HasSubstr("text_model.embeddings.token_embedding.weight"));
  EXPECT_THAT(clip_error(*models_ / "nothing"), HasSubstr("config.json"));

  const auto t5_error = [](const std::string& folder) {
    return std::string(T5Encoder::Load(folder, at::kFloat).status().message());
  };
  EXPECT_THAT(t5_error(Changed("t5_plain", "\"feed_forward_proj\": \"relu\"", "\"feed_forward_proj\": \"mish\"")),
              HasSubstr("feed_forward_proj \"mish\" is not known"));
  EXPECT_THAT(t5_error(Changed("t5_plain", "\"feed_forward_proj\": \"relu\"", "\"feed_forward_proj\": \"gated-gelu\"")),
              HasSubstr("dense_act_fn or is_gated_act contradicts feed_forward_proj \"gated-gelu\""));
  EXPECT_THAT(t5_error(Changed("t5_plain", "\"num_layers\": 3", "\"num_layers\": 4")),
              HasSubstr("encoder.block.3.layer.1.DenseReluDense.wi.weight"));
  EXPECT_THAT(t5_error(Changed("t5_plain", "\"relative_attention_max_distance\": 128",
                               "\"relative_attention_max_distance\": 8")),
              HasSubstr("relative_attention_max_distance must exceed"));
}

// Queries down, keys across; written down from T5's rule for 8 buckets up to distance 8: 4 a direction, 2 of them
// exact.
TEST(T5RelativeBucketsTest, AreExactNearbyAndLogarithmicFarAway) {
  const at::Tensor buckets = T5RelativeBuckets(10, 8, 8);
  const std::vector<int64_t> after = {0, 5, 6, 6, 7, 7, 7, 7, 7, 7}, before = {0, 1, 2, 2, 3, 3, 3, 3, 3, 3};
  for (int64_t distance = 0; distance < 10; ++distance) {
    EXPECT_EQ(buckets[0][distance].item<int64_t>(), after[distance]) << distance;
    EXPECT_EQ(buckets[distance][0].item<int64_t>(), before[distance]) << distance;
  }
  EXPECT_EQ(buckets[4][6].item<int64_t>(), buckets[0][2].item<int64_t>());
}

}  // namespace
}  // namespace flowawr
