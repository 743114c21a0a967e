#include "common/sd3/latent_shape.h"

#include <gmock/gmock.h>

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using testing::HasSubstr;

TransformerConfig Patches(int64_t patch, int64_t largest) {
  TransformerConfig config;
  config.patch_size = patch;
  config.pos_embed_max_size = largest;
  config.in_channels = 16;
  return config;
}

TEST(LatentShapeForTest, DividesTheSidesByTheVae) {
  const auto shape = LatentShapeFor(Patches(2, 96), 8, 512, 1024);
  ASSERT_TRUE(shape.ok()) << shape.status();
  EXPECT_EQ(shape->channels, 16);
  EXPECT_EQ(shape->height, 64);
  EXPECT_EQ(shape->width, 128);
  EXPECT_TRUE(LatentShapeFor(Patches(2, 96), 8, 1536, 16).ok());  // 96 patches and one
}

TEST(LatentShapeForTest, RefusesSidesThatDoNotDivideOrExceedThePositionsAndSaysWhatIsAccepted) {
  for (const auto& [height, width] :
       {std::pair{512, 520}, {520, 512}, {1552, 512}, {512, 1552}, {0, 512}, {512, -16}}) {
    const absl::Status status = LatentShapeFor(Patches(2, 96), 8, height, width).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << height << "x" << width;
    EXPECT_THAT(status.message(), HasSubstr("multiple of 16 up to 1536"));
  }
}

TEST(LatentShapeForTest, NamesSizesNearTheOneRefused) {
  struct Case {
    int height, width;
    const char* near;
  };
  for (const Case& c : {Case{500, 520, ", like 496x512 or 512x528"}, Case{512, 520, ", like 512x512 or 512x528"},
                        Case{5, 64, ", like 16x64"}, Case{4096, 512, ", like 1536x512"}}) {
    const absl::Status status = LatentShapeFor(Patches(2, 96), 8, c.height, c.width).status();
    EXPECT_THAT(std::string(status.message()), testing::EndsWith(c.near));
  }
}

TEST(ReadPictureSizesTest, ReadsAModelFolder) {
  const auto sizes = ReadPictureSizes("models/tiny-sd3");
  ASSERT_TRUE(sizes.ok()) << sizes.status();
  EXPECT_EQ(sizes->vae_downscale, 4);
  EXPECT_EQ(sizes->usual_height, 32);  // by its flowawr.json
  EXPECT_EQ(sizes->usual_width, 64);
  EXPECT_EQ(sizes->usual_sequence_length, 12);
  EXPECT_TRUE(sizes->LatentShapeFor(32, 64).ok());
  const TempFolder none;
  EXPECT_EQ(ReadPictureSizes(none.path()).status().code(), absl::StatusCode::kNotFound);
}

TEST(ReadPictureSizesTest, TakesTheUsualSizeFromFlowawrJsonAndElseFromTheTransformer) {
  TempFolder model;
  for (const char* file : {"transformer/config.json", "vae/config.json"})
    model.Write(file, *ReadFile(absl::StrCat("models/tiny-sd3/", file)));
  const auto plain = ReadPictureSizes(model.path());
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_EQ(plain->usual_height, 64);
  EXPECT_EQ(plain->usual_width, 64);
  EXPECT_EQ(plain->usual_sequence_length, 0);
  model.Write("flowawr.json", R"({"height": 48, "other": 1})");
  EXPECT_EQ(ReadPictureSizes(model.path())->usual_height, 48);
  EXPECT_EQ(ReadPictureSizes(model.path())->usual_width, 64);
  for (const char* wrong : {R"({"height": 47})", R"({"height": "48"})", "{", R"({"max_sequence_length": 0})"}) {
    model.Write("flowawr.json", wrong);
    const absl::Status status = ReadPictureSizes(model.path()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << wrong;
    EXPECT_THAT(std::string(status.message()), HasSubstr("flowawr.json"));
  }
}

TEST(ReadSequenceLengthTest, NeedsNoOtherFileOfTheModel) {
  const TempFolder model;
  EXPECT_EQ(ReadSequenceLength(model.path(), 128).value(), 128);
  model.Write("flowawr.json", R"({"height": 48})");
  EXPECT_EQ(ReadSequenceLength(model.path(), 128).value(), 128);
  model.Write("flowawr.json", R"({"max_sequence_length": 7})");
  EXPECT_EQ(ReadSequenceLength(model.path(), 128).value(), 7);
  model.Write("flowawr.json", "{");
  EXPECT_EQ(ReadSequenceLength(model.path(), 128).status().code(), absl::StatusCode::kInvalidArgument);
}

v1::ModelConfig Model(const std::string& path, int height, int width, int tokens) {
  v1::ModelConfig model;
  model.set_path(path);
  model.set_height(height);
  model.set_width(width);
  model.set_max_sequence_length(tokens);
  return model;
}

TEST(FillInModelDefaultsTest, WritesWhatTheModelWasMadeForWhereNothingIsTold) {
  struct Case {
    int height, width, tokens, expected_height, expected_width, expected_tokens;
  };
  for (const Case& c : {Case{0, 0, 0, 32, 64, 12}, Case{64, 0, 0, 64, 64, 12}, Case{0, 32, 5, 32, 32, 5}}) {
    v1::ModelConfig model = Model("models/tiny-sd3", c.height, c.width, c.tokens);
    ASSERT_TRUE(FillInModelDefaults(&model).ok());
    EXPECT_EQ(model.height(), c.expected_height);
    EXPECT_EQ(model.width(), c.expected_width);
    EXPECT_EQ(model.max_sequence_length(), c.expected_tokens);
  }
  PictureSizes untold;
  untold.usual_height = untold.usual_width = 1024;
  v1::ModelConfig model;
  FillInModelDefaults(untold, &model);
  EXPECT_EQ(model.height(), 1024);
  EXPECT_EQ(model.max_sequence_length(), 128);
}

TEST(FillInModelDefaultsTest, ReadsNoFolderWhereAllIsTold) {
  v1::ModelConfig model = Model("nowhere", 16, 16, 1);
  EXPECT_TRUE(FillInModelDefaults(&model).ok());
  model.set_width(0);
  EXPECT_EQ(FillInModelDefaults(&model).code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace flowawr
