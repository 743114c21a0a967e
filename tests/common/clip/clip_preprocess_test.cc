#include "common/clip/clip_preprocess.h"

#include <gmock/gmock.h>
#include <torch/types.h>

#include "absl/strings/str_cat.h"
#include "common/clip/pillow_resize.h"
#include "common/tensor/safetensors.h"
#include "tests/testing/parity.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

constexpr char kSizes[] = "17 pictures from 1 x 1 to 768 x 1024: noise, hard edges, slopes";
constexpr int64_t kSide = 224;

Image ImageOf(const at::Tensor& bytes) {
  const at::Tensor contiguous = bytes.contiguous();
  return {static_cast<int>(bytes.size(0)), static_cast<int>(bytes.size(1)),
          std::string(static_cast<const char*>(contiguous.const_data_ptr()), contiguous.nbytes())};
}

at::Tensor BytesOf(const Image& image) {
  return at::from_blob(const_cast<char*>(image.rgb.data()), {image.height, image.width, 3}, at::kByte).clone();
}

double LargestError(const at::Tensor& actual, const at::Tensor& expected) {
  if (actual.sizes() != expected.sizes()) return std::numeric_limits<double>::infinity();
  return (actual.to(at::kDouble) - expected.to(at::kDouble)).abs().max().item<double>();
}

class ClipPreprocessTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    const TempFolder folder;
    ASSERT_TRUE(RunPython("tests/common/clip/preprocess_reference.py",
                          {folder / "pictures.safetensors", absl::StrCat(kSide)}));
    const auto file = SafetensorsFile::Open(folder / "pictures.safetensors");
    ASSERT_TRUE(file.ok()) << file.status();
    tensors_ = new std::map<std::string, at::Tensor>(file->tensors());
  }
  static void TearDownTestSuite() { delete tensors_; }

  static const at::Tensor& Get(const std::string& name, int i) { return tensors_->at(absl::StrCat(name, ".", i)); }
  static bool Has(int i) { return tensors_->contains(absl::StrCat("image.", i)); }

  static void ExpectSame(const std::string& name, ClipPreprocess preprocess, const char* against) {
    for (int i = 0; Has(i); ++i) {
      const auto pixels = ClipPixels(ImageOf(Get("image", i)), preprocess, kSide);
      ASSERT_TRUE(pixels.ok()) << pixels.status();
      EXPECT_TRUE(pixels->is_contiguous());
      // A level of 255 is .0146 and more after the division by the deviation.
      ExpectAtMost({absl::StrCat("CLIP pixels, ", name), kSizes, against}, absl::StrCat(i), "largest error",
                   LargestError(*pixels, Get(name, i)), 2e-5);
    }
  }

  static std::map<std::string, at::Tensor>* tensors_;
};
std::map<std::string, at::Tensor>* ClipPreprocessTest::tensors_ = nullptr;

TEST_F(ClipPreprocessTest, ResizesAsPillowToTheByte) {
  int pictures = 0;
  for (; Has(pictures); ++pictures) {
    const at::Tensor& expected = Get("resized", pictures);
    const Image resized = PillowBicubic(ImageOf(Get("image", pictures)), static_cast<int>(expected.size(0)),
                                        static_cast<int>(expected.size(1)));
    ExpectAtMost({"Pillow's bicubic resize", kSizes, "PIL.Image.resize"}, absl::StrCat(pictures), "bytes that differ",
                 BytesOf(resized).ne(expected).sum().item<double>(), 0);
  }
  EXPECT_GT(pictures, 10);
}

TEST_F(ClipPreprocessTest, EqualsClipImageProcessor) {
  ExpectSame("clip_processor", ClipPreprocess::kClipProcessor, "transformers CLIPImageProcessor (Pillow)");
}

TEST_F(ClipPreprocessTest, EqualsClipImageProcessorWithoutItsCrop) {
  ExpectSame("stretched", ClipPreprocess::kStretched, "transformers CLIPImageProcessor (Pillow), do_center_crop=False");
}

TEST_F(ClipPreprocessTest, StretchesWhereTheFolderSaysSo) {
  const TempFolder folder;
  const auto of = [&](const std::string& text) {
    folder.Write("preprocessor_config.json", text);
    return ClipProcessorOf(folder.path());
  };
  EXPECT_EQ(*ClipProcessorOf(folder.path()), ClipPreprocess::kClipProcessor);
  EXPECT_EQ(*of(R"({"do_center_crop": true, "size": {"shortest_edge": 224}})"), ClipPreprocess::kClipProcessor);
  EXPECT_EQ(*of(R"({"do_center_crop": true, "size": {"height": 48, "width": 48}})"), ClipPreprocess::kClipProcessor);
  EXPECT_EQ(*of(R"({"do_center_crop": false, "size": {"height": 48, "width": 48}})"), ClipPreprocess::kStretched);
  EXPECT_EQ(*of(R"({"size": 224})"), ClipPreprocess::kClipProcessor);
  EXPECT_TRUE(absl::IsInvalidArgument(of("[]").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(of("{").status()));
}

TEST_F(ClipPreprocessTest, EqualsOpenClipsTransform) {
  ExpectSame("open_clip", ClipPreprocess::kOpenClip, "Pillow, and torchvision's CenterCrop in torch");
}

TEST_F(ClipPreprocessTest, EqualsTheTensorResizeOfClipScore) {
  ExpectSame("tensor_shortest", ClipPreprocess::kTensorShortest, "torch.nn.functional.interpolate");
}

TEST_F(ClipPreprocessTest, EqualsTheLongestEdgeResizeOfHpsV2) {
  ExpectSame("tensor_longest", ClipPreprocess::kTensorLongest, "torch.nn.functional.interpolate");
}

TEST_F(ClipPreprocessTest, PicturesWithoutPixelsOrBoundsAreRefused) {
  for (const ClipPreprocess preprocess : {ClipPreprocess::kClipProcessor, ClipPreprocess::kOpenClip,
                                          ClipPreprocess::kTensorShortest, ClipPreprocess::kTensorLongest,
                                          ClipPreprocess::kStretched}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ClipPixels({0, 0, ""}, preprocess, kSide).status()));
    EXPECT_TRUE(absl::IsInvalidArgument(ClipPixels({2, 2, "short"}, preprocess, kSide).status()));
    const auto thin = ClipPixels({1, 65, std::string(65 * 3, 'x')}, preprocess, kSide).status();
    EXPECT_TRUE(absl::IsInvalidArgument(thin));
    EXPECT_THAT(thin.message(), testing::HasSubstr("65 x 1 pixels is too long and thin"));
    EXPECT_TRUE(ClipPixels({1, 64, std::string(64 * 3, 'x')}, preprocess, kSide).ok());
  }
}

}  // namespace
}  // namespace flowawr
