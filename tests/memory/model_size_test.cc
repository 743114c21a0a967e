// What is counted from a configuration against what the loaders ask the files for.
#include "common/sd3/model_size.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/memory_plan.h"
#include "common/base/file.h"
#include "common/sd3/transformer.h"
#include "common/sd3/vae.h"
#include "tests/memory/hollow_model.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

nlohmann::json TinyConfig(const std::string& component) {
  return nlohmann::json::parse(
      ReadFile(absl::StrCat(SourceFolder(), "/models/tiny-sd3/", component, "/config.json")).value());
}

int64_t Wanted(const TempFolder& folder, const std::string& component, const nlohmann::json& config,
               const std::string& stem, const std::function<absl::Status(const std::string&)>& load) {
  return CountValues(WriteHollowComponent(folder / component, stem, config, "F32", 4, load));
}

TEST(ModelSize, CountsWhatTheLoadersAskFor) {
  const TempFolder folder;
  const auto model = ReadModelSizes(SourceFolder() + "/models/tiny-sd3");
  ASSERT_TRUE(model.ok()) << model.status();
  const auto transformer = [](const std::string& path) { return Transformer::Load(path, at::kFloat).status(); };
  const auto vae = [](const std::string& path) { return Vae::Load(path, at::kFloat).status(); };
  const auto clip = [](const std::string& path) { return ClipTextEncoder::Load(path, at::kFloat).status(); };
  const auto t5 = [](const std::string& path) { return T5Encoder::Load(path, at::kFloat).status(); };
  const std::string stem = "diffusion_pytorch_model";
  EXPECT_EQ(TransformerValues(model->transformer),
            Wanted(folder, "transformer", TinyConfig("transformer"), stem, transformer));
  EXPECT_EQ(VaeValues(model->vae), Wanted(folder, "vae", TinyConfig("vae"), stem, vae));
  ASSERT_EQ(model->clip.size(), 2u);
  EXPECT_EQ(ClipTextValues(model->clip[0]), Wanted(folder, "text_encoder", TinyConfig("text_encoder"), "model", clip));
  EXPECT_EQ(ClipTextValues(model->clip[1]),
            Wanted(folder, "text_encoder_2", TinyConfig("text_encoder_2"), "model", clip));
  ASSERT_TRUE(model->t5.has_value());
  EXPECT_EQ(T5Values(*model->t5), Wanted(folder, "text_encoder_3", TinyConfig("text_encoder_3"), "model", t5));
}

TEST(ModelSize, IsThatOfThePublishedModel) {
  const ModelSizes model = Sd35MediumSizes();
  EXPECT_EQ(TransformerValues(model.transformer), 2'469'663'936);
  EXPECT_EQ(VaeValues(model.vae), 83'819'683);
  EXPECT_EQ(ClipTextValues(model.clip.at(0)), 123'650'304);
  EXPECT_EQ(ClipTextValues(model.clip.at(1)), 694'659'840);
  EXPECT_EQ(T5Values(model.t5.value()), 4'762'310'656);
}

TEST(ModelSize, CountsTheAdapterThatTheTransformerLaysOut) {
  const auto transformer = Transformer::Load(SourceFolder() + "/models/tiny-sd3/transformer", at::kFloat);
  ASSERT_TRUE(transformer.ok()) << transformer.status();
  for (const std::vector<std::string>& suffixes :
       {std::vector<std::string>{"to_q", "to_v"}, {"attn.to_out.0", "attn.add_q_proj"}, {"net.0.proj", "attn2.to_k"}}) {
    const auto layout = (*transformer)->MakeLoraLayout(suffixes, 8, 8);
    ASSERT_TRUE(layout.ok()) << layout.status();
    const AdapterSize size = SizeOfAdapter((*transformer)->config(), {8, suffixes});
    EXPECT_EQ(size.values, (*layout)->size());
    EXPECT_EQ(size.modules, static_cast<int64_t>((*layout)->modules.size()));
  }
  // As FlowAWR publishes it for Stable Diffusion 3.5 Medium.
  const AdapterSize published = SizeOfAdapter(
      Sd35MediumSizes().transformer, {32,
                                      {"attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0", "attn.add_q_proj",
                                       "attn.add_k_proj", "attn.add_v_proj", "attn.to_add_out"}});
  EXPECT_EQ(published.values, 18'776'064);
  EXPECT_EQ(published.modules, 382 / 2);
}

}  // namespace
}  // namespace flowawr
