#include "cli/adapter_choice.h"

#include <gtest/gtest.h>

#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

TEST(ParseAdapterChoice, SeparatesPathAndScale) {
  const TempFolder folder;
  folder.Write("there:2", "");
  struct Case {
    std::string text, path;
    double scale;
  };
  for (const Case& c :
       {Case{"a/b", "a/b", 0.5}, Case{"a/b:0.8", "a/b", 0.8}, Case{"a:-1", "a", -1}, Case{"a:b:1e-2", "a:b", 0.01},
        Case{"a:", "a:", 0.5}, Case{"a:1x", "a:1x", 0.5},
        Case{":2", ":2", 0.5}, Case{folder / "there:2", folder / "there:2", 0.5},
        Case{folder / "there:2:3", folder / "there:2", 3}}) {
    const auto choice = ParseAdapterChoice(c.text, 0.5);
    ASSERT_TRUE(choice.ok()) << choice.status();
    EXPECT_EQ(choice->path, c.path) << c.text;
    EXPECT_EQ(choice->scale, c.scale) << c.text;
  }
}

TEST(ParseAdapterChoice, RefusesAScaleThatNoAdapterHas) {
  const TempFolder folder;
  folder.Write("there:nan", "");
  for (const char* text : {"a:nan", "a:inf", "a:-inf", "a:101", "a:-1e9", "a:1e999"}) {
    const absl::Status status = ParseAdapterChoice(text, 1).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_NE(status.message().find("from -100 to 100"), absl::string_view::npos) << text;
  }
  EXPECT_EQ(ParseAdapterChoice(folder / "there:nan", 1)->path, folder / "there:nan");
}

TEST(DescribeAdapter, NamesTheScaleWhereItIsNotOne) {
  EXPECT_EQ(DescribeAdapter({"a/b", 1}), "a/b");
  EXPECT_EQ(DescribeAdapter({"a/b", 0.75}), "a/b:0.75");
}

}  // namespace
}  // namespace flowawr
