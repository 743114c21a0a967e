#include "learner/initial_adapter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/nn/lora_files.h"
#include "common/tensor/safetensors.h"
#include "learner/policy_roles.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using testing::HasSubstr;

class InitialAdapterTest : public testing::Test {
 protected:
  static const Transformer& Model() {
    static const auto model = Transformer::Load(SourceFolder() + "/models/tiny-sd3/transformer", at::kFloat).value();
    return *model;
  }
  static std::shared_ptr<const LoraLayout> Layout(const std::vector<std::string>& targets, int64_t rank, double alpha) {
    return Model().MakeLoraLayout(targets, rank, alpha).value();
  }
  static LoraAdapter Random(const std::vector<std::string>& targets, int64_t rank, double alpha) {
    const auto layout = Layout(targets, rank, alpha);
    return LoraAdapter(layout, at::randn({layout->size()}));
  }
  absl::StatusOr<LoraAdapter> Load(const std::shared_ptr<const LoraLayout>& layout) {
    return LoadInitialAdapter(folder_.path(), Model(), layout);
  }
  // A diffusers file with these modules, of ones.
  void Write(const std::map<std::string, int64_t>& ranks, int64_t size) {
    std::map<std::string, at::Tensor> tensors;
    for (const auto& [name, rank] : ranks) {
      tensors[absl::StrCat("transformer.", name, ".lora_A.weight")] = at::ones({rank, size});
      tensors[absl::StrCat("transformer.", name, ".lora_B.weight")] = at::ones({size, rank});
    }
    ASSERT_TRUE(WriteSafetensors(folder_ / "pytorch_lora_weights.safetensors", tensors).ok());
  }

  TempFolder folder_;
};

TEST_F(InitialAdapterTest, StartsAllPoliciesFromAPeftFolderBitForBit) {
  const LoraAdapter adapter = Random({"attn.to_q", "attn.to_out.0", "ff.net.2"}, 3, 5);
  ASSERT_TRUE(WritePeftFolder(adapter, "base", folder_.path()).ok());
  const auto loaded = Load(Layout({"ff.net.2", "attn.to_out.0", "attn.to_q"}, 3, 5));
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  const PolicyRoles roles = PolicyRoles::StartFrom(*loaded);
  for (const LoraAdapter* policy : {&roles.current, &roles.behaviour, &roles.average})
    EXPECT_TRUE(policy->flat().equal(adapter.flat()));
  EXPECT_NE(roles.current.flat().data_ptr(), roles.behaviour.flat().data_ptr());
}

TEST_F(InitialAdapterTest, ReadsADiffusersFileWhoseAlphaIsItsRank) {
  const LoraAdapter adapter = Random({"attn.to_k"}, 4, 8);
  ASSERT_TRUE(WriteDiffusersLora(adapter, folder_ / "pytorch_lora_weights.safetensors").ok());
  const auto loaded = Load(Layout({"attn.to_k"}, 4, 4));
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_TRUE(loaded->B(0).equal(adapter.B(0) * 2));
}

TEST_F(InitialAdapterTest, TellsTheLinesToWriteWhenTheConfigurationDiffers) {
  ASSERT_TRUE(WritePeftFolder(Random({"attn.to_q", "ff.net.2"}, 3, 4.5), "base", folder_.path()).ok());
  const std::pair<std::vector<std::string>, std::pair<int64_t, double>> others[] = {
      {{"attn.to_q", "ff.net.2"}, {4, 4.5}}, {{"attn.to_q", "ff.net.2"}, {3, 4}}, {{"attn.to_q"}, {3, 4.5}}};
  for (const auto& [targets, numbers] : others) {
    const absl::Status status = Load(Layout(targets, numbers.first, numbers.second)).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(status.message(), HasSubstr("rank: 3\n    alpha: 4.5\n    target_modules: [attn.to_q, ff.net.2]"));
  }
}

TEST_F(InitialAdapterTest, NamesModulesInFullWhenOnlySomeBlocksHaveThem) {
  Write({{"transformer_blocks.1.attn.to_q", 2}}, Model().config().inner_dim());
  const absl::Status status = Load(Layout({"attn.to_q"}, 2, 2)).status();
  EXPECT_THAT(status.message(), HasSubstr("target_modules: [transformer_blocks.1.attn.to_q]"));
  EXPECT_TRUE(Load(Layout({"transformer_blocks.1.attn.to_q"}, 2, 2)).ok());
}

TEST_F(InitialAdapterTest, RefusesRanksThatDifferAndAnotherModel) {
  const int64_t dim = Model().config().inner_dim();
  Write({{"transformer_blocks.0.attn.to_q", 2}, {"transformer_blocks.1.attn.to_q", 3}}, dim);
  EXPECT_THAT(Load(Layout({"attn.to_q"}, 2, 2)).status().message(), HasSubstr("its modules differ in rank or alpha"));
  Write({{"transformer_blocks.0.attn.to_q", 2}, {"transformer_blocks.99.attn.to_q", 2}}, dim);
  EXPECT_THAT(Load(Layout({"attn.to_q"}, 2, 2)).status().message(),
              HasSubstr("transformer_blocks.99.attn.to_q\" does not exist in this model"));
  Write({{"transformer_blocks.0.attn.to_q", 2}}, dim + 1);
  EXPECT_THAT(Load(Layout({"transformer_blocks.0.attn.to_q"}, 2, 2)).status().message(),
              HasSubstr("the adapter is for another model"));
  const absl::Status nothing = LoadInitialAdapter(folder_ / "none", Model(), Layout({"attn.to_q"}, 2, 2)).status();
  EXPECT_EQ(nothing.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(nothing.message(), HasSubstr("lora.init_from: "));
}

}  // namespace
}  // namespace flowawr
