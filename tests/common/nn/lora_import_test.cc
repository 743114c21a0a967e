// What ReadLora() refuses, and what it says. What it accepts is compared with peft and diffusers in
// tests/common/sd3/lora_import_test.cc.
#include "common/nn/lora_import.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "common/base/file.h"
#include "common/nn/lora_adapter.h"
#include "common/nn/lora_config.h"
#include "common/nn/name_pattern.h"
#include "common/tensor/safetensors.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using Tensors = std::map<std::string, at::Tensor>;

constexpr char kPeftPrefix[] = "base_model.model.";

Tensors Pair(const std::string& module, int64_t rank = 4) {
  return {{module + ".lora_A.weight", at::ones({rank, 6})}, {module + ".lora_B.weight", at::ones({8, rank})}};
}

Tensors Merge(Tensors tensors, const Tensors& more) {
  tensors.insert(more.begin(), more.end());
  return tensors;
}

absl::StatusOr<ImportedLora> ReadFileOf(const Tensors& tensors,
                                        const std::map<std::string, std::string>& metadata = {}) {
  const TempFolder folder;
  EXPECT_TRUE(WriteSafetensors(folder / "lora.safetensors", tensors, metadata).ok());
  return ReadLora(folder / "lora.safetensors");
}

absl::StatusOr<ImportedLora> ReadPeft(const Tensors& tensors, const nlohmann::json& changes) {
  const TempFolder folder;
  nlohmann::json config = {{"peft_type", "LORA"}, {"r", 4}, {"lora_alpha", 8}, {"target_modules", {"to_q"}}};
  config.update(changes);
  Tensors named;
  for (const auto& [name, tensor] : tensors) named[kPeftPrefix + name] = tensor;
  EXPECT_TRUE(WriteSafetensors(folder / "adapter_model.safetensors", named).ok());
  EXPECT_TRUE(WriteFileAtomically(folder / "adapter_config.json", config.dump()).ok());
  return ReadLora(folder.path());
}

struct BadConfig {
  nlohmann::json changes;
  const char* message;
};

TEST(ReadLoraTest, RefusesConfigurationsOfOtherKindsAndSaysWhy) {
  const BadConfig cases[] = {
      {{{"peft_type", "LOHA"}}, "\"peft_type\" is \"LOHA\"; only \"LORA\" is supported"},
      {{{"use_dora", true}}, "\"use_dora\" is set; it may change what the adapter computes"},
      {{{"bias", "all"}}, "\"bias\" is \"all\"; adapters that train biases are not supported"},
      {{{"lora_bias", true}}, "\"lora_bias\" is set"},
      {{{"modules_to_save", {"proj_out"}}}, "\"modules_to_save\" is set"},
      {{{"of_the_future", 3}}, "\"of_the_future\" is set"},
      {{{"init_lora_weights", "pissa_niter_16"}}, "is \"pissa_niter_16\", which changes the base weights"},
      {{{"r", 0}}, "\"r\" must be an integer of 1 or more"},
      {{{"r", "4"}}, "\"r\" must be an integer"},
      {{{"lora_alpha", nullptr}}, "\"lora_alpha\" must be a number"},
      {{{"rank_pattern", {{"to_q", 2}}}}, "module \"b.to_q\" has rank 4, its configuration says 2"},
      {{{"rank_pattern", {{"to_(q", 2}}}}, "\"to_(q\" is no pattern that can be read"},
      {{{"rank_pattern", 3}}, "\"rank_pattern\" must map names of modules to numbers"},
      {{{"alpha_pattern", {{"to_q", 2}, {"b.to_q", 3}}}}, "module \"b.to_q\" fits patterns"},
      {{{"alpha_pattern", {{"to_q", "2"}}}}, "\"alpha_pattern\" has no usable number for to_q"},
      {{{"target_modules", {"to_k"}}}, "module \"b.to_q\" is not one of the configuration's target_modules"},
      {{{"target_modules", 3}}, "\"target_modules\" must be a list of names or a pattern"},
      {{{"r", 5}}, "module \"b.to_q\" has rank 4, its configuration says 5"},
  };
  for (const BadConfig& c : cases) {
    const absl::Status status = ReadPeft(Pair("b.to_q"), c.changes).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << c.changes;
    EXPECT_THAT(status.message(), HasSubstr(c.message)) << c.changes;
  }
  EXPECT_TRUE(ReadPeft(Pair("b.to_q"), nlohmann::json::object()).ok());
}

TEST(ReadLoraTest, ListsEveryTensorThatDoesNotFit) {
  Tensors tensors = Pair("b.to_q");
  tensors.erase("b.to_q.lora_A.weight");
  tensors["b.to_k.lora_A.weight"] = at::ones({4, 6});
  tensors["b.to_v.lora_A.weight"] = at::ones({4, 6});
  tensors["b.to_v.lora_B.weight"] = at::ones({8, 5});
  tensors["c.to_q.lora_A.weight"] = at::ones({4, 6});
  tensors["c.to_q.lora_B.weight"] = at::full({8, 4}, std::nan(""));
  tensors["c.to_k.lora_A.weight"] = at::ones({4, 6}, at::kInt);
  tensors["c.to_v.lora_B.bias"] = at::ones({8});
  tensors["c.to_v.weight"] = at::ones({8});
  tensors["d.alpha"] = at::ones({1});
  const absl::Status status = ReadFileOf(tensors).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(
      status.message(),
      AllOf(HasSubstr("module \"b.to_q\" has a matrix B, but no A"),
            HasSubstr("module \"b.to_k\" has a matrix A, but no B"),
            HasSubstr("module \"b.to_v\" has matrices A [4,6] and B [8,5], expected [rank, in] and [out, rank]"),
            HasSubstr("module \"c.to_q\" holds NaN or infinity"),
            HasSubstr("tensor \"c.to_k.lora_A.weight\" is Int, not of a floating-point type"),
            HasSubstr("tensor \"c.to_v.lora_B.bias\" is a bias"),
            HasSubstr("tensor \"c.to_v.weight\" is not a LoRA matrix"),
            HasSubstr("module \"d\" has an alpha, but no matrices")));
}

TEST(ReadLoraTest, RefusesOtherKindsOfAdaptersByTheirTensors) {
  const std::pair<const char*, const char*> cases[] = {
      {"transformer.b.to_q.lora_magnitude_vector", "DoRA"},
      {"transformer.b.to_q.dora_scale", "DoRA"},
      {"transformer.b.to_q.hada_w1_a", "LoHa"},
      {"transformer.b.to_q.lokr_w1", "LoKr"},
      {"text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_A.weight", "adapts a text encoder"},
      {"text_encoder_2.text_model.encoder.layers.0.self_attn.q_proj.lora_A.weight", "adapts a text encoder"},
      {"lora_unet_joint_blocks_0_x_block_attn_qkv.lora_down.weight", "original code"},
      {"diffusion_model.joint_blocks.0.x_block.attn.qkv.lora_A.weight", "original code"},
      {"lora_unet_down_blocks_1_attentions_0_proj_in.lora_down.weight", "does not have"},
      {"lora_te1_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight", "adapts a text encoder"},
      {"base_model.model.text_model.encoder.layers.0.self_attn.q_proj.lora_A.weight", "adapts a text encoder"},
  };
  for (const auto& [name, message] : cases) {
    const absl::Status status = ReadFileOf(Merge(Pair("transformer.b.to_q"), {{name, at::ones({4})}})).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_THAT(status.message(), AllOf(HasSubstr(name), HasSubstr(message)));
  }
}

TEST(ReadLoraTest, RefusesAFileWithoutAnyAdapter) {
  const absl::Status status = ReadFileOf({{"b.to_q.weight", at::ones({8, 6})}}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("holds no LoRA matrices; 1 tensors like: tensor \"b.to_q.weight\""));
}

TEST(ReadLoraTest, RefusesTwoAdaptersInOneAndATensorTwice) {
  Tensors tensors;
  for (const char* adapter : {"default", "old"}) {
    tensors[absl::StrCat("b.to_", adapter, ".lora_A.", adapter, ".weight")] = at::ones({4, 6});
    tensors[absl::StrCat("b.to_", adapter, ".lora_B.", adapter, ".weight")] = at::ones({8, 4});
  }
  EXPECT_THAT(ReadFileOf(tensors).status().message(), HasSubstr("holds several adapters (default, old)"));
  EXPECT_THAT(ReadFileOf(Merge(Pair("b.to_q"), Pair("transformer.b.to_q"))).status().message(),
              HasSubstr("is there a second time"));
}

TEST(ReadLoraTest, RefusesContradictingAlphas) {
  const Tensors pair = Pair("transformer.b.to_q");
  const std::string metadata = R"({"transformer.r": 4, "transformer.lora_alpha": 8})";
  EXPECT_THAT(ReadFileOf(Merge(pair, {{"transformer.b.to_q.alpha", at::ones({2})}})).status().message(),
              HasSubstr("has an alpha of 2 numbers, expected one"));
  EXPECT_THAT(
      ReadFileOf(Merge(pair, {{"transformer.b.to_q.alpha", at::ones({1})}}), {{"lora_adapter_metadata", metadata}})
          .status()
          .message(),
      HasSubstr("beside a configuration"));
  EXPECT_THAT(ReadFileOf(pair, {{"lora_adapter_metadata", "{"}}).status().message(),
              HasSubstr("lora.safetensors: lora_adapter_metadata"));
  const auto told = ReadFileOf(pair, {{"lora_adapter_metadata", metadata}});
  ASSERT_TRUE(told.ok()) << told.status();
  EXPECT_EQ(told->modules[0].scale(), 2);
}

TEST(ReadLoraTest, ReadsACheckpointsFile) {
  const TempFolder folder;
  const auto layout = std::make_shared<const LoraLayout>(
      LoraLayout{.rank = 4, .alpha = 6.5, .modules = {{"b.to_q", 6, 8}, {"b.to_k", 6, 5}}});
  const LoraAdapter adapter(layout, at::randn({layout->size()}));
  ASSERT_TRUE(WriteFileAtomically(folder / "average.safetensors", adapter.SerializePeft().value()).ok());
  const auto lora = ReadLora(folder / "average.safetensors");
  ASSERT_TRUE(lora.ok()) << lora.status();
  ASSERT_EQ(lora->modules.size(), 2);
  EXPECT_EQ(lora->modules[1].name, "b.to_q");
  EXPECT_EQ(lora->modules[1].alpha, 6.5);
  EXPECT_TRUE(lora->modules[1].A.equal(adapter.A(0)));
  EXPECT_TRUE(lora->modules[0].B.equal(adapter.B(1)));
}

TEST(ReadLoraTest, AsksForTheAlphaThatNothingTells) {
  const TempFolder folder;
  ASSERT_TRUE(WriteSafetensors(folder / "average.safetensors", Pair("base_model.model.b.to_q")).ok());
  EXPECT_THAT(ReadLora(folder / "average.safetensors").status().message(), HasSubstr("nothing tells its alpha"));
  const auto lora = ReadLora(folder / "average.safetensors", 12);
  ASSERT_TRUE(lora.ok()) << lora.status();
  EXPECT_EQ(lora->modules[0].scale(), 3);
}

TEST(ReadLoraTest, SaysWhatIsMissing) {
  const TempFolder folder;
  EXPECT_EQ(ReadLora(folder / "none").status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(ReadLora(folder / "none").status().message(), HasSubstr("No such file or directory; an adapter is"));
  EXPECT_THAT(ReadLora(folder.path()).status().message(), HasSubstr("holds no adapter; an adapter is a PEFT folder"));
  ASSERT_TRUE(WriteFileAtomically(folder / "adapter_config.json", "{}").ok());
  EXPECT_THAT(ReadLora(folder.path()).status().message(), HasSubstr("has adapter_config.json but no adapter_model"));
  ASSERT_TRUE(WriteFileAtomically(folder / "adapter_model.bin", "pickle").ok());
  EXPECT_THAT(ReadLora(folder.path()).status().message(), HasSubstr("a pickle, which can run code"));
  ASSERT_TRUE(WriteFileAtomically(folder / "adapter_model.safetensors", "short").ok());
  EXPECT_EQ(ReadLora(folder.path()).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(ReadLoraTest, AsksWhichOfSeveralFiles) {
  const TempFolder folder;
  for (const char* name : {"a.safetensors", "b.safetensors"})
    ASSERT_TRUE(WriteSafetensors(folder / name, Pair("b.to_q")).ok());
  EXPECT_THAT(ReadLora(folder.path()).status().message(),
              AllOf(HasSubstr("several .safetensors files; name one"), HasSubstr("a.safetensors, ")));
}

TEST(NamePattern, TakesNoLongerForPatternsThatHangOtherEngines) {
  const std::string name(5000, 'a');
  for (const char* text : {"((a+)+)+b", "(a|a)*b", "(a*)*(a*)*b"}) {
    const auto pattern = NamePattern::Parse(text);
    ASSERT_TRUE(pattern.ok()) << pattern.status();
    EXPECT_FALSE(pattern->MatchesWhole(name)) << text;
    EXPECT_TRUE(pattern->MatchesEnd("x." + name + "b")) << text;
  }
}

TEST(PeftLoraConfig, TakesATargetPatternThatOnlyPythonReads) {
  const auto config = PeftLoraConfig::Parse({{"r", 4}, {"lora_alpha", 4}, {"target_modules", "(?<=x)to_q"}}, "c");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_TRUE(config->IsTarget("a.to_q"));
}

}  // namespace
}  // namespace flowawr
