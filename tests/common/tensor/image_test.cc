#include "common/tensor/image.h"

#include <gmock/gmock.h>

#include "common/base/file.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

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
  // What Pillow makes of the same JPEG, to the bit: it uses the same library.
  for (const char* name : {"a", "gray", "progressive"}) {
    const auto decoded = DecodeJpeg(*ReadFile(folder / (std::string(name) + ".jpg")));
    ASSERT_TRUE(decoded.ok()) << name << decoded.status();
    EXPECT_EQ(decoded->rgb, *ReadFile(folder / (std::string(name) + ".jpg.rgb"))) << name;
  }
  EXPECT_THAT(std::string(DecodeJpeg(*ReadFile(folder / "cmyk.jpg")).status().message()), HasSubstr("CMYK"));
  EXPECT_THAT(*ReadPngText(*ReadFile(folder / "text.png")),
              UnorderedElementsAre(Pair("latin", "caf\u00e9"), Pair("packed", std::string(5000, 'x')),
                                   Pair("prompt", "\u732b \"CAT\"")));
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

TEST(ImageTest, RefusesDamagedJpegWithoutEndingTheProcess) {
  const std::string bytes = *EncodeJpeg(Pattern(40, 40), 90);
  ASSERT_TRUE(DecodeJpeg(bytes).ok());
  for (size_t size = 0; size + 2 < bytes.size(); ++size) EXPECT_FALSE(DecodeJpeg(bytes.substr(0, size)).ok()) << size;
  for (size_t at = 0; at < bytes.size(); ++at) {  // whatever comes of it, this process lives on
    std::string damaged = bytes;
    damaged[at] ^= 0x55;
    (void)DecodeJpeg(damaged);
  }
  EXPECT_FALSE(DecodeJpeg("not a picture").ok());
}

TEST(ImageTest, TellsPicturesByTheirBytesAndBoundsTheirSidesBeforeDecodingThem) {
  const Image image = Pattern(20, 30);
  EXPECT_EQ(DecodePicture(*EncodePng(image), 30)->rgb, image.rgb);
  EXPECT_EQ(DecodePicture(*EncodeJpeg(image, 90), 30)->width, 30);
  for (const std::string& bytes : {*EncodePng(image), *EncodeJpeg(image, 90)}) {
    const absl::Status status = DecodePicture(bytes, 29).status();
    EXPECT_THAT(std::string(status.message()), HasSubstr("of 20x30 pixels; at most 29 a side"));
  }
  EXPECT_THAT(std::string(DecodePicture("GIF89a", 99).status().message()), HasSubstr("neither a PNG nor a JPEG"));
  EXPECT_THAT(std::string(DecodePicture("", 99).status().message()), HasSubstr("empty"));
  // A JPEG that claims 65500 x 65500 pixels in some hundred bytes.
  std::string bomb = *EncodeJpeg(Pattern(8, 8), 90);
  const size_t frame = bomb.find("\xff\xc0");
  bomb.replace(frame + 5, 4, "\xff\xdc\xff\xdc");
  EXPECT_THAT(std::string(DecodeJpeg(bomb).status().message()), HasSubstr("65500x65500"));
}

TEST(ImageTest, ReadsTheTextOfItsOwnPngs) {
  const std::string bytes = *EncodePng(Pattern(2, 2), {{"prompt", "caf\u00e9 \"CAT\""}, {"seed", "7"}});
  EXPECT_THAT(*ReadPngText(bytes), UnorderedElementsAre(Pair("prompt", "caf\u00e9 \"CAT\""), Pair("seed", "7")));
  EXPECT_TRUE(ReadPngText(*EncodePng(Pattern(2, 2)))->empty());
  for (const size_t size : {0, 10, 40, 60}) EXPECT_FALSE(ReadPngText(bytes.substr(0, size)).ok()) << size;
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

TEST(ImageTest, ShrinksEverySquareToItsMean) {
  const Image image{2, 5, std::string("\x00\x00\x00\x04\x04\x04zzzzzzqqq\x08\x08\x08\x04\x04\x04zzzzzzqqq", 30)};
  const Image small = Shrink(image, 2);
  EXPECT_EQ(small.height, 1);
  EXPECT_EQ(small.width, 2);
  EXPECT_EQ(small.rgb, "\x04\x04\x04zzz");
  EXPECT_EQ(Shrink(image, 1).rgb, image.rgb);
  EXPECT_EQ(Shrink({1, 4, std::string(12, 'c')}, 4).rgb, "ccc");  // a line keeps its pixel
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
