#include "cli/score_page.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace flowawr {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

v1::RewardSpec Spec(const std::vector<std::string>& scorers) {
  v1::RewardSpec spec;
  for (const std::string& scorer : scorers) {
    spec.add_terms()->set_scorer(scorer);
    spec.mutable_terms()->rbegin()->set_weight(1);
  }
  return spec;
}

PictureScore Picture(const std::string& name, double reward, int terms = 1) {
  PictureScore picture{.name = name};
  picture.prompt.set_text("a sign");
  for (int term = 0; term < terms; ++term) picture.scores.add_terms()->set_reward(reward);
  return picture;
}

Image Flat(int height, int width, char level) {
  return {height, width, std::string(size_t{3} * height * width, level)};
}

TEST(ScorePageTest, ShowsAsManyOfTheBestAsOfTheWorst) {
  EXPECT_THAT(ShownPictures(3, 5), ElementsAre(0, 1, 2));
  EXPECT_THAT(ShownPictures(10, 4), ElementsAre(0, 1, 8, 9));
  EXPECT_THAT(ShownPictures(10, 3), ElementsAre(0, 1, 9));
}

TEST(ScorePageTest, MakesThumbnailsByWholeFactors) {
  EXPECT_EQ(Thumbnail(Flat(1024, 512, 'a'), 320).height, 256);
  EXPECT_EQ(Thumbnail(Flat(1024, 512, 'a'), 320).width, 128);
  EXPECT_EQ(Thumbnail(Flat(320, 20, 'a'), 320).height, 320);
}

TEST(ScorePageTest, DrawsASheetOfPicturesOfSeveralSizes) {
  const PictureScore a = Picture("a.png", 0.9), b = Picture("b.png", 0.1);
  const auto sheet = DrawScoreSheet(Spec({"ocr"}), {{&a, Flat(100, 200, 'a')}, {&b, Flat(200, 100, 'b')}});
  ASSERT_TRUE(sheet.ok()) << sheet.status();
  EXPECT_GE(sheet->width, 2 * 200);
  EXPECT_THAT(sheet->rgb, HasSubstr(std::string(3 * 200, 'a')));
  EXPECT_THAT(sheet->rgb, HasSubstr(std::string(3 * 100, 'b')));
  const auto huge = DrawScoreSheet(Spec({"ocr"}), std::vector<ShownPicture>(600, {&a, Flat(320, 320, 'a')}));
  ASSERT_TRUE(huge.ok()) << huge.status();  // those that fit
  EXPECT_LE(int64_t{huge->height} * huge->width, int64_t{1} << 26);
}

TEST(ScorePageTest, IsOneFileThatTrustsNothingFromOutside) {
  std::vector<PictureScore> sorted = {Picture("<a>.png", 0.9),
                                      {.name = "bad.png", .status = absl::DataLossError("cut & run")}};
  sorted[0].prompt.set_text("a sign that says \"<script>\"");
  auto& details = *sorted[0].scores.mutable_terms(0)->mutable_details();
  details["text"] = "<b>";
  details["exact"] = "false";
  const auto page =
      ScorePage(Spec({"ocr"}), {"pictures by ocr", {"tesseract"}}, sorted, {{&sorted[0], Flat(32, 64, 'a')}});
  ASSERT_TRUE(page.ok()) << page.status();
  EXPECT_THAT(*page, HasSubstr("a sign that says &quot;&lt;script&gt;&quot;"));
  EXPECT_THAT(*page, HasSubstr("read <span class=\"read mismatch\">&lt;b&gt;</span>"));
  EXPECT_THAT(*page, HasSubstr("<code>bad.png</code>: cut &amp; run"));
  EXPECT_THAT(*page, HasSubstr("data:image/png;base64,"));
  EXPECT_THAT(*page, HasSubstr("<b>0.900</b>"));
  EXPECT_THAT(*page, Not(HasSubstr("the best and the worst")));  // what is no picture cannot be shown
  for (const char* outside : {"<script", "http:", "https:", "src=\"/"}) EXPECT_THAT(*page, Not(HasSubstr(outside)));
}

TEST(ScorePageTest, LetsReadersSortBySeveralScorers) {
  const std::vector<PictureScore> sorted = {Picture("a.png", 0.5, 2)};
  const auto page =
      ScorePage(Spec({"ocr", "size"}), {"pictures", {}}, sorted, {{&sorted[0], Flat(200, 200, 'a')}});
  ASSERT_TRUE(page.ok()) << page.status();
  EXPECT_THAT(*page, HasSubstr("<option value=\"k2\">size</option>"));
  EXPECT_THAT(*page, HasSubstr("data-k0=\"1\" data-k1=\"0.5\" data-k2=\"0.5\""));
  EXPECT_THAT(*page, HasSubstr("data:image/jpeg;base64,"));
}

}  // namespace
}  // namespace flowawr
