#include "reward_server/scorers/jpeg_scorer.h"

#include <cstdlib>
#include <random>

#include "common/base/file.h"
#include "gtest/gtest.h"
#include "reward_server/scorer_registry.h"
#include "tests/reward_server/scorers/test_items.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

double RewardOf(const Image& image, std::map<std::string, std::string> options = {}) {
  auto scorer = ScorerRegistry::Default().Make("jpeg_compressibility", std::move(options), {});
  EXPECT_TRUE(scorer.ok()) << scorer.status();
  const v1::ScoreItem item = MakeItem(image, "");
  const v1::ScoreItem* pointer = &item;
  return (*scorer)->Score({&pointer, 1}, kAlwaysWanted)[0].reward();
}

Image Noise(int height, int width) {
  std::mt19937 random(3);
  Image image = Plain(height, width);
  for (char& byte : image.rgb) byte = static_cast<char>(random());
  return image;
}

TEST(JpegScorerTest, IsThePublishedFormulaOverPilsSize) {
  const Image image = Noise(64, 96);
  TempFolder folder;
  ASSERT_TRUE(WriteFileAtomically(folder.path() + "/rgb", image.rgb).ok());
  ASSERT_TRUE(RunPython("tests/reward_server/scorers/jpeg_reference.py",
                        {folder.path() + "/rgb", "64", "96", "95", folder.path() + "/size"}));
  const double bytes = std::atof(ReadFile(folder.path() + "/size").value().c_str());
  ASSERT_GT(bytes, 1000);
  // Two JPEG libraries may differ by a few bytes.
  EXPECT_NEAR(RewardOf(image), -bytes / 1000 / 500, 0.01 * bytes / 1000 / 500);
}

TEST(JpegScorerTest, PrefersPlainPictures) { EXPECT_GT(RewardOf(Plain(64, 64)), RewardOf(Noise(64, 64))); }

TEST(JpegScorerTest, TakesItsOptions) {
  const Image image = Noise(32, 32);
  EXPECT_DOUBLE_EQ(RewardOf(image, {{"scale", "5"}}), 100 * RewardOf(image));
  EXPECT_DOUBLE_EQ(RewardOf(image, {{"sign", "1"}}), -RewardOf(image));
  EXPECT_GT(RewardOf(image, {{"quality", "10"}}), RewardOf(image));
}

}  // namespace
}  // namespace flowawr
