#include "reward_server/scorers/ocr_page.h"

#include <algorithm>
#include <cstdlib>
#include <random>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "gtest/gtest.h"
#include "tests/reward_server/scorers/test_items.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

Image Noise(int height, int width) {
  std::mt19937 random(3);
  Image image = Plain(height, width);
  for (char& byte : image.rgb) byte = static_cast<char>(random());
  return image;
}

class PageTest : public testing::TestWithParam<int> {};

TEST_P(PageTest, AgreesWithPilWithinOneLevel) {
  const int scale = GetParam(), height = 12, width = 17;
  const Image image = Noise(height, width);
  TempFolder folder;
  ASSERT_TRUE(WriteFileAtomically(folder.path() + "/rgb", image.rgb).ok());
  ASSERT_TRUE(RunPython("tests/reward_server/scorers/ocr_page_reference.py",
                        {folder.path() + "/rgb", absl::StrCat(height), absl::StrCat(width), absl::StrCat(scale), "5",
                         folder.path() + "/page"}));
  const std::string expected = ReadFile(folder.path() + "/page").value();
  const GrayPage page = MakePage(MakeItem(image, ""), {.min_height = height * scale, .margin = 5});
  ASSERT_EQ(page.height, height * scale + 10);
  ASSERT_EQ(page.width, width * scale + 10);
  ASSERT_EQ(page.pixels.size(), expected.size());
  int worst = 0;
  for (size_t i = 0; i < expected.size(); ++i)
    worst = std::max(worst, std::abs(page.pixels[i] - static_cast<uint8_t>(expected[i])));
  EXPECT_LE(worst, 1);
}

INSTANTIATE_TEST_SUITE_P(Scales, PageTest, testing::Values(1, 2, 3, 4));

TEST(PageSizeTest, EnlargesByWholeFactorsUpToFour) {
  const auto height_of = [](int height) { return MakePage(MakeItem(Plain(height, 8), ""), {.margin = 0}).height; };
  EXPECT_EQ(height_of(64), 64);
  EXPECT_EQ(height_of(63), 126);
  EXPECT_EQ(height_of(32), 64);
  EXPECT_EQ(height_of(1), 4);
  EXPECT_EQ(height_of(512), 512);
}

}  // namespace
}  // namespace flowawr
