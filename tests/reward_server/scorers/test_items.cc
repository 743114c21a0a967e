#include "tests/reward_server/scorers/test_items.h"

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "gtest/gtest.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {

std::vector<v1::ScoreItem> DrawWords(const std::vector<std::string>& words) {
  TempFolder folder;
  std::vector<std::string> arguments = {folder.path()};
  arguments.insert(arguments.end(), words.begin(), words.end());
  EXPECT_TRUE(RunPython("tests/reward_server/scorers/draw_words.py", arguments));
  std::vector<v1::ScoreItem> items;
  for (const std::string& word : words) {
    const auto png = ReadFile(absl::StrCat(folder.path(), "/", word, ".png"));
    EXPECT_TRUE(png.ok()) << png.status();
    const auto image = DecodePng(png.value_or(""));
    EXPECT_TRUE(image.ok()) << image.status();
    items.push_back(MakeItem(image.value_or(Image{}), absl::StrCat("a sign that says \"", word, "\"")));
  }
  return items;
}

v1::ScoreItem MakeItem(const Image& image, const std::string& prompt) {
  v1::ScoreItem item;
  item.set_height(image.height);
  item.set_width(image.width);
  item.set_image_rgb(image.rgb);
  item.set_prompt(prompt);
  return item;
}

Image Plain(int height, int width, char level) {
  return {height, width, std::string(static_cast<size_t>(height) * width * 3, level)};
}

std::vector<const v1::ScoreItem*> Pointers(const std::vector<v1::ScoreItem>& items) {
  std::vector<const v1::ScoreItem*> pointers;
  for (const v1::ScoreItem& item : items) pointers.push_back(&item);
  return pointers;
}

}  // namespace flowawr
