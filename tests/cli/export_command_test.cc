// `flowawr export --merged` as people run it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <filesystem>
#include <string>
#include <vector>

#include "common/nn/lora_files.h"
#include "common/sd3/transformer.h"
#include "common/tensor/checkpoint.h"
#include "tests/cli/command.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using testing::HasSubstr;

std::string Model() { return SourceFolder() + "/models/tiny-sd3"; }

TEST(ExportCommand, MergesAdaptersIntoAModelsTransformer) {
  const TempFolder folder;
  const auto transformer = Transformer::Load(Model() + "/transformer", at::kFloat).value();
  const auto layout = transformer->MakeLoraLayout({"attn.to_q"}, 2, 4).value();
  const LoraAdapter adapter(layout, at::full({layout->size()}, 0.1F));
  ASSERT_TRUE(WritePeftFolder(adapter, "tiny", folder / "peft").ok());
  ASSERT_TRUE(WriteDiffusersLora(adapter, folder / "lora.safetensors").ok());

  Command merge(folder, {"export", "--model", Model(), "--merged", folder / "merged", "--adapter", folder / "peft",
                         "--scale", "0.5", "--adapter", folder / "lora.safetensors", "--scale", "2"});
  ASSERT_EQ(merge.AwaitEnd(), "") << merge.output();
  EXPECT_THAT(merge.output(), HasSubstr(absl::StrCat(layout->modules.size(), " layers merged")));
  EXPECT_THAT(merge.output(), HasSubstr("on a random input the adapters change the velocity by "));

  const auto base = OpenCheckpoint(Model() + "/transformer", "diffusion_pytorch_model").value().tensors;
  const auto merged = OpenCheckpoint(folder / "merged", "diffusion_pytorch_model").value().tensors;
  ASSERT_EQ(merged.size(), base.size());
  for (const auto& [name, tensor] : base) {
    // Scale alpha / rank = 2, entries 2 x 0.1 x 0.1, and both scales.
    const double change = name.ends_with("attn.to_q.weight") ? 2 * 0.02 * 2.5 : 0;
    const at::Tensor difference = merged.at(name).to(at::kDouble) - tensor.to(at::kDouble);
    const double spacing = tensor.scalar_type() == at::kFloat ? 1e-6 : 0.01;
    EXPECT_LT((difference - change).abs().max().item<double>(), change == 0 ? 1e-30 : spacing) << name;
  }
}

TEST(ExportCommand, SaysWhatIsMissing) {
  const TempFolder folder;
  struct Case {
    std::vector<std::string> arguments;
    std::string exit, message;
  };
  const Case cases[] = {
      {{"--adapter", "x"}, "exit status 64", "--adapter needs --merged FOLDER"},
      {{"--adapter", "x", "--model", Model(), "--merged", folder / "m"},
       "exit status 66",
       "x: No such file or directory"},
      {{"--adapter", "x", "--model", Model(), "--merged", Model()}, "exit status 73", "holds files already"},
      {{"--adapter", "x", "--merged", folder / "m", "--out", "o"}, "exit status 64", "--out is for a run's policy"},
      {{"--scale", "2", "--merged", folder / "m"}, "exit status 64", "--scale is for --adapter"},
      {{"--adapter", "x", "--adapter", "y", "--scale", "2"}, "exit status 64", "one --scale for each --adapter"},
      {{"--learner", "127.0.0.1:1", "--merged", folder / "m"},
       "exit status 64",
       "--merged needs --model FOLDER, or RUN_DIR"},
  };
  for (const Case& c : cases) {
    std::vector<std::string> arguments = {"export"};
    arguments.insert(arguments.end(), c.arguments.begin(), c.arguments.end());
    Command command(folder, arguments);
    EXPECT_EQ(command.AwaitEnd(), c.exit) << c.message;
    EXPECT_THAT(command.output(), HasSubstr(c.message));
  }
  EXPECT_FALSE(std::filesystem::exists(folder / "m"));
}

}  // namespace
}  // namespace flowawr
