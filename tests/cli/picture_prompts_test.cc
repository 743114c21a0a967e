#include "cli/picture_prompts.h"

#include <filesystem>

#include "common/tensor/image.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

std::string Png(const std::map<std::string, std::string>& text = {}) {
  return EncodePng({1, 1, "abc"}, text).value();
}

class PicturePromptsTest : public ::testing::Test {
 protected:
  PicturePrompts Make(const std::vector<std::string>& names, const std::string& file = "",
                      const std::string& prompt = "") {
    auto prompts = PicturePrompts::Make(prompt, file, folder_.path(), names);
    EXPECT_TRUE(prompts.ok()) << prompts.status();
    return *std::move(prompts);
  }
  const TempFolder folder_;
};

TEST_F(PicturePromptsTest, ListsPicturesBelowAFolderInOrder) {
  for (const char* name : {"b.png", "a/c.JPG", "a/deep/d.jpeg", "notes.txt", "a/x.gif", "scores/sheet.png"})
    folder_.Write(name, "x");
  std::filesystem::create_directory_symlink(folder_.path(), folder_ / "loop");
  EXPECT_THAT(*ListPictures(folder_.path(), folder_ / "scores"), ElementsAre("a/c.JPG", "a/deep/d.jpeg", "b.png"));
  EXPECT_EQ(ListPictures(folder_ / "a", "")->size(), 2u);
  folder_.Write("a/grid.png", Png({{"prompts", "[\"a cat\"]"}}));
  EXPECT_EQ(ListPictures(folder_ / "a", "")->size(), 2u) << "all of `flowawr sample` in one, beside them";
  folder_.Write("a/grid.png", Png());
  EXPECT_EQ(ListPictures(folder_ / "a", "")->size(), 3u) << "a picture of that name";
  EXPECT_TRUE(absl::IsNotFound(ListPictures(folder_ / "nowhere", "").status()));
  EXPECT_THAT(std::string(ListPictures(folder_ / "b.png", "").status().message()), HasSubstr("is no folder"));
  std::filesystem::create_directory(folder_ / "empty");
  EXPECT_THAT(std::string(ListPictures(folder_ / "empty", "").status().message()), HasSubstr("holds no picture"));
}

TEST_F(PicturePromptsTest, TakesOnePromptForAllBeforeAnythingElse) {
  const PicturePrompts prompts = Make({"a.png"}, "", " a cat ");
  EXPECT_EQ(prompts.Of("a.png", Png({{"prompt", "a dog"}}))->text(), "a cat");
}

TEST_F(PicturePromptsTest, FindsAPictureByItsNameInAPromptFile) {
  const std::string file = folder_.Write(
      "p.jsonl",
      "{\"file_name\": \"./a.png\", \"prompt\": \"one\", \"include\": [{\"class\": \"cat\"}]}\n"
      "{\"image\": \"elsewhere/b.png\", \"prompt\": \"two\"}\n{\"path\": \"gone.png\", \"prompt\": \"three\"}\n");
  const PicturePrompts prompts = Make({"a.png", "sub/b.png"}, file);
  EXPECT_EQ(prompts.Of("a.png", Png())->text(), "one");
  EXPECT_THAT(prompts.Of("a.png", Png())->metadata(), UnorderedElementsAre(Pair("include", R"([{"class":"cat"}])")));
  EXPECT_EQ(prompts.Of("sub/b.png", Png())->text(), "two");
  EXPECT_THAT(prompts.missing(), ElementsAre("gone.png"));
  EXPECT_THAT(std::string(prompts.Of("c.png", Png()).status().message()), HasSubstr("does not name it"));
  const auto twice = PicturePrompts::Make(
      "", folder_.Write("t.jsonl", "{\"file\": \"a\", \"prompt\": \"1\"}\n{\"file\": \"a\", \"prompt\": \"2\"}\n"),
      folder_.path(), {});
  EXPECT_THAT(std::string(twice.status().message()), HasSubstr("t.jsonl:2: the picture a has a prompt already"));
}

TEST_F(PicturePromptsTest, ReadsThePicturesOwnTextAndTakesItsMetadataFromAFile) {
  const std::string file =
      folder_.Write("p.jsonl", "{\"prompt\": \"two cats\", \"tag\": \"counting\"}\n{\"prompt\": \"a dog\"}\n");
  const PicturePrompts without = Make({"a.png"}), with = Make({"a.png"}, file);
  const std::string cats = Png({{"prompt", "two cats"}, {"seed", "1"}});
  EXPECT_EQ(without.Of("a.png", cats)->text(), "two cats");
  EXPECT_TRUE(without.Of("a.png", cats)->metadata().empty());
  EXPECT_THAT(with.Of("a.png", cats)->metadata(), UnorderedElementsAre(Pair("tag", "counting")));
  EXPECT_EQ(with.Of("a.png", Png({{"prompt", "a fish"}}))->text(), "a fish");
}

TEST_F(PicturePromptsTest, SaysWhyThereIsNoPrompt) {
  const PicturePrompts prompts = Make({"a.png"});
  const auto why = [&](const std::string& bytes) { return std::string(prompts.Of("a.png", bytes).status().message()); };
  EXPECT_THAT(why(Png()), HasSubstr("give --prompts FILE with file_name and prompt, or --prompt TEXT"));
  EXPECT_THAT(why(EncodeJpeg({1, 1, "abc"}, 90).value()), HasSubstr("no prompt"));
  EXPECT_THAT(why(Png({{"prompts", "[\"a\"]"}})), HasSubstr("a grid of several prompts"));
  EXPECT_THAT(why(Png({{"prompt", "{\"3\": {\"class_type\": \"KSampler\"}}"}})), HasSubstr("JSON of another program"));
}

TEST_F(PicturePromptsTest, ReadsTheMetadataFilesThatLieBesidePictures) {
  folder_.Write("metadata.jsonl", "{\"file_name\": \"a.png\", \"prompt\": \"of the folder\"}\n");
  folder_.Write("00000/metadata.jsonl", "{\"prompt\": \"of all below\", \"tag\": \"colors\"}\n");
  const std::vector<std::string> names = {"00000/samples/0000.png", "00000/samples/0001.png", "a.png"};
  const PicturePrompts prompts = Make(names);
  EXPECT_EQ(prompts.Of("a.png", Png())->text(), "of the folder");
  for (const char* name : {"00000/samples/0000.png", "00000/samples/0001.png"}) {
    EXPECT_EQ(prompts.Of(name, Png())->text(), "of all below");
    EXPECT_THAT(prompts.Of(name, Png())->metadata(), UnorderedElementsAre(Pair("tag", "colors")));
  }
  EXPECT_TRUE(prompts.missing().empty());
  folder_.Write("metadata.jsonl", "nonsense\n");
  EXPECT_FALSE(PicturePrompts::Make("", "", folder_.path(), names).ok());
}

}  // namespace
}  // namespace flowawr
