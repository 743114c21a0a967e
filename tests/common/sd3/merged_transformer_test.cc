// Merged transformer folders, loaded by diffusers and compared with what peft merges.
#include "common/sd3/merged_transformer.h"

#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "common/base/file.h"
#include "common/tensor/checkpoint.h"
#include "common/tensor/safetensors.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using testing::HasSubstr;

// Folders "f32" and "bf16" with a model each, and adapters "attention" and "every_layer"; Python makes them once.
const std::string& Root() {
  static const TempFolder folder;
  static const bool is_made =
      static_cast<bool>(RunPython("tests/common/sd3/merged_transformer_reference.py", {"make", folder.path()}));
  EXPECT_TRUE(is_made) << "the script's output says why";
  return folder.path();
}

class MergedTransformerTest : public testing::Test {
 protected:
  MergedTransformerTest() {
    at::set_num_threads(1);
    first_ = ReadLora(Root() + "/attention").value();
    second_ = ReadLora(Root() + "/every_layer").value();
  }

  ImportedLora first_, second_;
  TempFolder folder_;
};

TEST_F(MergedTransformerTest, DiffusersLoadsItAndHasTheWeightsThatPeftMergesInF32) {
  for (const std::string dtype : {"f32", "bf16"}) {
    const std::string merged = folder_ / dtype;
    const auto report =
        WriteMergedTransformer(absl::StrCat(Root(), "/", dtype), {{&first_, 0.5}, {&second_, 2}}, merged);
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(report->merged_modules, static_cast<int64_t>(second_.modules.size()));
    EXPECT_TRUE(
        RunPython("tests/common/sd3/merged_transformer_reference.py", {"check", Root(), dtype, merged, "0.5", "2"}));
  }
}

TEST_F(MergedTransformerTest, ReportsTheDriftOfRoundingOnce) {
  const auto exact = WriteMergedTransformer(Root() + "/f32", {{&first_}}, folder_ / "f32");
  const auto rounded = WriteMergedTransformer(Root() + "/bf16", {{&first_}}, folder_ / "bf16");
  ASSERT_TRUE(exact.ok() && rounded.ok()) << exact.status() << rounded.status();
  EXPECT_EQ(exact->max_weight_error, 0);
  ASSERT_TRUE(exact->velocity.has_value() && rounded->velocity.has_value());
  EXPECT_LT(exact->velocity->by_merging, 1e-5);
  EXPECT_GT(exact->velocity->by_adapters, 0.01);
  // A bf16 number is off by at most 2^-8 of itself; these weights are mostly below 0.5 and all below 4.
  EXPECT_GT(rounded->mean_weight_error, 0);
  EXPECT_LT(rounded->mean_weight_error, 0.5 / 256);
  EXPECT_LT(rounded->max_weight_error, 4.0 / 256);
  EXPECT_GT(rounded->velocity->by_merging, 0);
  EXPECT_LT(rounded->velocity->by_merging, 0.1);
}

TEST_F(MergedTransformerTest, SplitsWhatIsLargerThanAShardAndReadsBack) {
  const auto whole = WriteMergedTransformer(Root() + "/bf16", {{&first_}}, folder_ / "whole");
  const auto split = WriteMergedTransformer(Root() + "/bf16", {{&first_}}, folder_ / "split", 200'000);
  ASSERT_TRUE(whole.ok() && split.ok()) << whole.status() << split.status();
  size_t shards = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / "split")) {
    if (entry.path().extension() != ".safetensors") continue;
    ++shards;
    EXPECT_LT(entry.file_size(), 200'000 + 20'000u);
  }
  EXPECT_GT(shards, 2u);
  const auto expected = OpenCheckpoint(folder_ / "whole", "diffusion_pytorch_model");
  const auto tensors = OpenCheckpoint(folder_ / "split", "diffusion_pytorch_model");
  ASSERT_TRUE(expected.ok() && tensors.ok()) << expected.status() << tensors.status();
  ASSERT_EQ(tensors->tensors.size(), expected->tensors.size());
  for (const auto& [name, tensor] : expected->tensors) EXPECT_TRUE(tensors->tensors.at(name).equal(tensor)) << name;
  EXPECT_TRUE(RunPython("tests/common/sd3/merged_transformer_reference.py",
                        {"check", Root(), "bf16", folder_ / "split", "1", "0"}));
}

TEST_F(MergedTransformerTest, RefusesAnotherModelsAdapterAndAFolderInUse) {
  ImportedLora other{.source = "other",
                     .modules = {{"transformer_blocks.7.attn.to_q", at::ones({1, 48}), at::ones({48, 1}), 1},
                                 {"proj_out", at::ones({1, 47}), at::ones({16, 1}), 1}}};
  const absl::Status status = WriteMergedTransformer(Root() + "/f32", {{&other}}, folder_ / "out").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("transformer_blocks.7.attn.to_q\" does not exist in this model"));
  EXPECT_THAT(status.message(), HasSubstr("proj_out\" is [16,48] in this model, the adapter is for one of [16,47]"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out"));
  EXPECT_EQ(WriteMergedTransformer(Root() + "/f32", {{&first_}}, Root() + "/bf16").status().code(),
            absl::StatusCode::kAlreadyExists);

  // The folder of a whole pipeline, or what a merge that was stopped left.
  folder_.Write("in_use", "");
  EXPECT_EQ(WriteMergedTransformer(Root() + "/f32", {{&first_}}, folder_.path()).status().code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(WriteMergedTransformer(Root() + "/f32", {{&first_}}, folder_ / "in_use").status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_F(MergedTransformerTest, RefusesToWriteWeightsThatAreNotFinite) {
  ImportedLora large{.source = "large",
                     .modules = {{"proj_out", at::full({1, 48}, 1e20F), at::full({16, 1}, 1e20F), 1}}};
  const absl::Status status = WriteMergedTransformer(Root() + "/f32", {{&large}}, folder_ / "out").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("tensor \"proj_out.weight\" would not be finite"));
  EXPECT_TRUE(std::filesystem::is_empty(folder_ / "out"));
  EXPECT_THAT(WriteMergedTransformer(Root() + "/f32", {{&first_, 1e300}}, folder_ / "out").status().message(),
              HasSubstr("its scale must be a finite number"));
}

}  // namespace
}  // namespace flowawr
