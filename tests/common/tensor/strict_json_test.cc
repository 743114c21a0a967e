#include "common/tensor/strict_json.h"

#include <gmock/gmock.h>

namespace flowawr {
namespace {

using testing::HasSubstr;

TEST(StrictJsonTest, KeepsEveryKindOfValue) {
  const char text[] = R"({"a":[1,-2,2.5,"x\n",true,null,{"b":{}}],"c":[]})";
  const auto parsed = ParseStrictJson(text, "file");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(*parsed, nlohmann::json::parse(text));
}

TEST(StrictJsonTest, RefusesWhatHasTwoMeanings) {
  EXPECT_THAT(ParseStrictJson(R"({"a":{"b":1,"b":1}})", "file").status().message(), HasSubstr("\"b\" is there twice"));
  EXPECT_THAT(ParseStrictJson(absl::string_view("1\0 2", 4), "file").status().message(), HasSubstr("NUL"));
  for (const char* text : {"", "{", "1 2", "[1,]", "{\"a\" 1}", "\"\xc3\"", "nul", "01", "1e999"})
    EXPECT_EQ(ParseStrictJson(text, "file").status().code(), absl::StatusCode::kInvalidArgument) << text;
}

TEST(StrictJsonTest, RefusesDeepNestingWithoutRecursion) {
  EXPECT_TRUE(ParseStrictJson("[[[]]]", "file", 3).ok());
  EXPECT_FALSE(ParseStrictJson("[[[[]]]]", "file", 3).ok());
  EXPECT_THAT(ParseStrictJson(std::string(1 << 20, '['), "file").status().message(), HasSubstr("nested deeper"));
}

}  // namespace
}  // namespace flowawr
