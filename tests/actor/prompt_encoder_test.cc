#include "actor/prompt_encoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace flowawr {
namespace {

using ::testing::ElementsAre;

class PromptEncoderTest : public ::testing::Test {
 protected:
  std::vector<std::string> encoded_;
  PromptEncoder encoder_{[this](const std::string& prompt) -> absl::StatusOr<PromptEmbeds> {
                           encoded_.push_back(prompt);
                           if (prompt == "bad") return absl::InvalidArgumentError("not UTF-8");
                           return PromptEmbeds();
                         },
                         /*capacity=*/2};
};

TEST_F(PromptEncoderTest, EncodesAPromptOnce) {
  ASSERT_TRUE(encoder_.Get("a").ok());
  ASSERT_TRUE(encoder_.Get("a").ok());
  EXPECT_THAT(encoded_, ElementsAre("a"));
}

TEST_F(PromptEncoderTest, ForgetsThePromptUsedLongestAgo) {
  for (const char* prompt : {"a", "b", "a", "c", "a", "b"}) ASSERT_TRUE(encoder_.Get(prompt).ok());
  EXPECT_THAT(encoded_, ElementsAre("a", "b", "c", "b"));
}

TEST_F(PromptEncoderTest, DoesNotKeepFailures) {
  EXPECT_FALSE(encoder_.Get("bad").ok());
  EXPECT_FALSE(encoder_.Get("bad").ok());
  EXPECT_THAT(encoded_, ElementsAre("bad", "bad"));
}

}  // namespace
}  // namespace flowawr
