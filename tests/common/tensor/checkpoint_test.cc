#include "common/tensor/checkpoint.h"

#include <gmock/gmock.h>
#include <torch/types.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "common/tensor/safetensors.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;

class CheckpointTest : public testing::Test {
 protected:
  // A file of one tensor "a" with this value.
  void Write(const std::string& name, double value) {
    ASSERT_TRUE(WriteSafetensors(folder_ / name, {{"a", at::full({2}, value)}}).ok());
  }
  void WriteIndex(const std::string& name, const std::string& shard) {
    folder_.Write(name, absl::StrCat(R"({"weight_map": {"a": ")", shard, R"("}})"));
  }
  // Opens the checkpoint of `stem` and checks that its "a" has the value.
  CheckpointTensors Expect(const std::string& stem, double value) {
    auto checkpoint = OpenCheckpoint(folder_.path(), stem);
    EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
    if (!checkpoint.ok()) return {};
    EXPECT_EQ(checkpoint->tensors.at("a")[0].item<double>(), value);
    return *std::move(checkpoint);
  }
  const TempFolder folder_;
};

// The names are those that save_pretrained(variant="fp16") of diffusers and of transformers gives the files.
TEST_F(CheckpointTest, IsTheVariantIfThatIsAllThereIsAndThePlainFileBeforeIt) {
  Write("model.fp16.safetensors", 16);
  const CheckpointTensors fp16 = Expect("model", 16);
  EXPECT_EQ(fp16.variant, "fp16");
  EXPECT_THAT(fp16.file, EndsWith("/model.fp16.safetensors"));
  Write("model.bf16.safetensors", 8);
  EXPECT_EQ(Expect("model", 8).variant, "bf16");
  Write("model.safetensors", 32);
  const CheckpointTensors plain = Expect("model", 32);
  EXPECT_EQ(plain.variant, "");
  EXPECT_THAT(plain.file, EndsWith("/model.safetensors"));
}

TEST_F(CheckpointTest, IsShardsOfAVariantIfThatIsAllThereIsAndThePlainShardsBeforeThem) {
  Write("model.fp16-00001-of-00001.safetensors", 16);
  WriteIndex("model.safetensors.index.fp16.json", "model.fp16-00001-of-00001.safetensors");
  const CheckpointTensors fp16 = Expect("model", 16);
  EXPECT_EQ(fp16.variant, "fp16");
  EXPECT_THAT(fp16.file, EndsWith("/model.safetensors.index.fp16.json"));
  Write("model-00001-of-00001.safetensors", 32);
  WriteIndex("model.safetensors.index.json", "model-00001-of-00001.safetensors");
  EXPECT_EQ(Expect("model", 32).variant, "");
}

TEST_F(CheckpointTest, OfFileAndIndexTakesWhatTheLibraryOfThatStemTakes) {
  for (const std::string stem : {"model", "diffusion_pytorch_model"}) {
    Write(stem + ".safetensors", 1);
    Write(stem + "-00001-of-00001.safetensors", 2);
    WriteIndex(stem + ".safetensors.index.json", stem + "-00001-of-00001.safetensors");
  }
  Expect("model", 1);                    // transformers
  Expect("diffusion_pytorch_model", 2);  // diffusers
}

TEST_F(CheckpointTest, ThatIsMissingIsToldWithWhatIsThereInstead) {
  folder_.Write("pytorch_model.bin", "");
  folder_.Write("other.safetensors", "");
  const absl::Status status = OpenCheckpoint(folder_.path(), "model").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(status.message(), AllOf(HasSubstr("/model.safetensors is missing"),
                                      HasSubstr("is not read: other.safetensors, pytorch_model.bin")));
  const TempFolder empty;
  EXPECT_THAT(OpenCheckpoint(empty.path(), "model").status().message(), HasSubstr("fetch the weights"));
  EXPECT_THAT(OpenCheckpoint(empty / "none", "model").status().message(), HasSubstr("no such folder"));
}

TEST_F(CheckpointTest, ThatCannotBeReadIsNotPassedOverForAVariant) {
  Write("model.fp16.safetensors", 16);
  std::filesystem::create_directory(folder_ / "model.safetensors");
  EXPECT_THAT(OpenCheckpoint(folder_.path(), "model").status().message(),
              HasSubstr("model.safetensors is not a regular file"));
  std::filesystem::remove(folder_ / "model.safetensors");
  std::filesystem::create_symlink("../blobs/none", folder_ / "model.safetensors");  // an interrupted download
  EXPECT_THAT(OpenCheckpoint(folder_.path(), "model").status().message(),
              AllOf(HasSubstr("model.safetensors"), HasSubstr("No such file")));
}

TEST_F(CheckpointTest, ThatIsALargeFileStoragePointerSaysHowToFetchIt) {
  folder_.Write("model.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4967\n");
  EXPECT_THAT(OpenCheckpoint(folder_.path(), "model").status().message(), HasSubstr("git lfs pull"));
}

class ShardsTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(WriteSafetensors(folder_ / "model-1.safetensors", {{"a", at::ones({2})}}).ok());
    ASSERT_TRUE(WriteSafetensors(folder_ / "model-2.safetensors", {{"b", at::zeros({3}, at::kHalf)}}).ok());
  }
  auto LoadWithIndex(absl::string_view index) {
    folder_.Write("model.safetensors.index.json", index);
    return OpenCheckpoint(folder_.path(), "model");
  }
  const TempFolder folder_;
};

TEST_F(ShardsTest, AreReadAsOneModel) {
  const auto model = LoadWithIndex(R"({"weight_map":{"a":"model-1.safetensors","b":"model-2.safetensors"}})");
  ASSERT_TRUE(model.ok()) << model.status();
  ASSERT_EQ(model->tensors.size(), 2);
  EXPECT_TRUE(model->tensors.at("a").equal(at::ones({2})));
  EXPECT_TRUE(model->tensors.at("b").equal(at::zeros({3}, at::kHalf)));
}

TEST_F(ShardsTest, MayNotLieOutsideTheFolder) {
  for (const char* shard :
       {"../model-1.safetensors", "/model-1.safetensors", "x/model-1.safetensors", "..", "", "model-1.bin"})
    EXPECT_EQ(LoadWithIndex(absl::StrCat(R"({"weight_map":{"a":")", shard, R"("}})")).status().code(),
              absl::StatusCode::kInvalidArgument)
        << shard;
}

TEST_F(ShardsTest, NameATensorThatItsShardLacks) {
  EXPECT_THAT(LoadWithIndex(R"({"weight_map":{"b":"model-1.safetensors"}})").status().message(), HasSubstr("\"b\""));
  EXPECT_FALSE(LoadWithIndex(R"({"weight_map":{"a":"model-3.safetensors"}})").ok());
  EXPECT_FALSE(LoadWithIndex(R"({"weight_map":{"a":1}})").ok());
  EXPECT_FALSE(LoadWithIndex(R"({"weight_map":[]})").ok());
  EXPECT_FALSE(LoadWithIndex(R"({"weight_map":{"a":"model-1.safetensors","a":"model-2.safetensors"}})").ok());
}

TEST_F(ShardsTest, ListAllThatIsWrongAtOnceOneALine) {
  std::filesystem::resize_file(folder_ / "model-2.safetensors", 90);
  const absl::Status status =
      LoadWithIndex(
          R"({"weight_map":{"a":"model-1.safetensors","b":"model-2.safetensors","c":"../../secret.safetensors",
              "d":"model-1.safetensors","e":"model-3.safetensors","f":"model-2.safetensors"}})")
          .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("\n  weight_map \"c\" must name a .safetensors file beside the index"));
  EXPECT_THAT(status.message(), HasSubstr("\n  tensor \"d\" is not in model-1.safetensors"));
  EXPECT_THAT(status.message(), HasSubstr("model-2.safetensors: "));
  EXPECT_THAT(status.message(), HasSubstr("cut short, fetch it again"));
  EXPECT_THAT(status.message(), HasSubstr("model-3.safetensors: No such file"));
}

}  // namespace
}  // namespace flowawr
