#include "learner/ranks/tensor_heads.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace flowawr {
namespace {

constexpr int64_t kMost = 1 << 20;

TEST(TensorHeads, SurviveTheWay) {
  const std::vector<TensorHead> heads = {{.name = "x0", .dims = {2, 3, 4}},
                                         {.name = "node/0/4", .dims = {70}, .is_vector = true, .is_by_device = true},
                                         {.name = "steps", .dtype = c10::ScalarType::Long, .dims = {0}}};
  const auto read = ParseHeads(SerializeHeads(heads), kMost);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(*read, heads);
  EXPECT_EQ(heads[0].bytes(), 96);
}

TEST(TensorHeads, RefusesWhatNoTensorIs) {
  for (const char* text :
       {"", "{", "7", "[7]", "[[]]", R"([["a",6,[-1],false,false]])", R"([["a",6,[0,-1],false,false]])",
        R"([["a",15,[1],false,false]])", R"([["a",-1,[1],false,false]])",
        R"([["a",6,[1],false,false],["a",6,[1],false,false]])", R"([["a",6,[4294967296,4294967296,4],false,false]])",
        R"([["a",6,[262145],false,false]])", R"([["a",6,[131073],false,false],["b",6,[131073],false,false]])",
        R"([["a",7,[1],true,false]])", R"([["a",6,[1,1],true,false]])", R"([["a",6,[1],false,true]])",
        R"([["a",6,[1,1,1,1,1,1,1,1,1],false,false]])", R"([[7,6,[1],false,false]])", R"([["a","6",[1],false,false]])"})
    EXPECT_TRUE(absl::IsInvalidArgument(ParseHeads(text, kMost).status())) << text;
}

TEST(TensorHeads, NoDamageIsMistakenForATensorThatIsTooLarge) {
  const std::string good =
      SerializeHeads({{.name = "x0", .dims = {2, 3, 4}}, {.name = "node/0/4", .dims = {70}, .is_vector = true}});
  std::mt19937 random(1);
  for (int i = 0; i < 20000; ++i) {
    std::string text = good;
    for (unsigned changes = 1 + random() % 3; changes > 0; --changes)
      text[random() % text.size()] = static_cast<char>(random());
    const auto read = ParseHeads(text, kMost);
    if (!read.ok()) continue;
    int64_t bytes = 0;
    for (const TensorHead& head : *read) {
      EXPECT_GE(head.bytes(), 0);
      bytes += head.bytes();
    }
    EXPECT_LE(bytes, kMost) << text;
  }
}

}  // namespace
}  // namespace flowawr
