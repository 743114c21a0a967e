#include "common/tensor/image.h"

#include <gmock/gmock.h>

#include "common/base/file.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

// Every pixel different.
Image Pattern(int height, int width) {
  Image image{height, width, ""};
  for (int i = 0; i < height * width; ++i) {
    image.rgb += static_cast<char>(i);
    image.rgb += static_cast<char>(i * 7);
    image.rgb += static_cast<char>(255 - i);
  }
  return image;
}

std::string PixelAt(const Image& image, int y, int x) { return image.rgb.substr(3 * (y * image.width + x), 3); }

TEST(ImageTest, PngRoundTripsExactly) {
  const Image image = Pattern(13, 9);
  const auto decoded = DecodePng(*EncodePng(image));
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->height, 13);
  EXPECT_EQ(decoded->width, 9);
  EXPECT_EQ(decoded->rgb, image.rgb);
}

TEST(ImageTest, PngAndJpegAreReadByPillow) {
  const TempFolder folder;
  const Image image = Pattern(24, 40);
  folder.Write("a.png", *EncodePng(image, {{"prompt", "caf\u00e9 \"CAT\""}, {"reward", "0.5"}}));
  folder.Write("odd.png", *EncodePng(image, {{"prompt", std::string("a\xff" "b\0c", 5)}}));
  folder.Write("a.jpg", *EncodeJpeg(image, 95));
  folder.Write("a.rgb", image.rgb);
  EXPECT_TRUE(RunPython("tests/common/tensor/check_images.py", {folder.path()}));
  // Pictures that Pillow wrote: palette, transparency, 16 bits.
  for (const char* name : {"palette.png", "alpha.png", "gray16.png"}) {
    const auto decoded = DecodePng(*ReadFile(folder / name));
    ASSERT_TRUE(decoded.ok()) << name << decoded.status();
    EXPECT_EQ(decoded->rgb, *ReadFile(folder / (std::string(name) + ".rgb"))) << name;
  }
}

TEST(ImageTest, RefusesDamagedPngWithoutEndingTheProcess) {
  const std::string bytes = *EncodePng(Pattern(8, 8));
  for (size_t size = 0; size + 20 < bytes.size(); ++size) EXPECT_FALSE(DecodePng(bytes.substr(0, size)).ok()) << size;
  std::string damaged = bytes;
  damaged[bytes.size() / 2] ^= 0x55;
  EXPECT_FALSE(DecodePng(damaged).ok());
  EXPECT_FALSE(DecodePng("not a picture").ok());
}

TEST(ImageTest, RefusesAHugePngBeforeAllocating) {
  std::string bytes = *EncodePng(Pattern(1, 1));
  // IHDR's width; its checksum follows the 17 bytes of type and data from byte 12 on.
  bytes.replace(16, 4, std::string("\x00\x0f\x42\x40", 4));
  EXPECT_FALSE(DecodePng(bytes).ok());
}

TEST(ImageTest, RefusesAnImageWhoseFieldsDisagree) {
  EXPECT_FALSE(EncodePng({2, 2, "short"}).ok());
  EXPECT_FALSE(EncodePng({0, 0, ""}).ok());
  EXPECT_FALSE(EncodeJpeg({-1, 2, ""}, 90).ok());
  EXPECT_FALSE(EncodeJpeg(Pattern(2, 2), 0).ok());
  EXPECT_FALSE(EncodePng(Pattern(2, 2), {{"", "x"}}).ok());
  EXPECT_FALSE(EncodePng(Pattern(2, 2), {{std::string(80, 'k'), "x"}}).ok());
}

TEST(ImageTest, JpegShrinksWithQuality) {
  const Image image = Pattern(64, 64);
  EXPECT_LT(EncodeJpeg(image, 10)->size(), EncodeJpeg(image, 95)->size());
}

TEST(ImageTest, EnlargesEveryPixelToASquare) {
  const Image image{1, 2, "aaabbb"};
  const Image large = Enlarge(image, 2);
  EXPECT_EQ(large.height, 2);
  EXPECT_EQ(large.width, 4);
  EXPECT_EQ(large.rgb, "aaaaaabbbbbbaaaaaabbbbbb");
  EXPECT_EQ(Enlarge(image, 1).rgb, image.rgb);
}

TEST(ImageTest, GridPutsImagesInReadingOrderOnWhite) {
  const Image a{1, 1, "aaa"}, b{1, 1, "bbb"}, c{2, 2, std::string(12, 'c')};
  const Image grid = Grid({a, b, c}, 2, 1);
  EXPECT_EQ(grid.height, 7);
  EXPECT_EQ(grid.width, 7);
  ASSERT_TRUE(ValidateImage(grid).ok());
  EXPECT_EQ(PixelAt(grid, 1, 1), "aaa");
  EXPECT_EQ(PixelAt(grid, 1, 4), "bbb");
  EXPECT_EQ(PixelAt(grid, 5, 2), "ccc");
  EXPECT_EQ(PixelAt(grid, 0, 0), "\xff\xff\xff");
  EXPECT_EQ(PixelAt(grid, 5, 5), "\xff\xff\xff");
  EXPECT_EQ(Grid({}, 3, 1).rgb, "");
}

}  // namespace
}  // namespace flowawr
