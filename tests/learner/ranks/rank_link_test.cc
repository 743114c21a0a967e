#include "learner/ranks/rank_link.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <string>
#include <thread>

#include "tests/learner/ranks/linked_pair.h"

namespace flowawr {
namespace {

constexpr absl::Duration kLimit = absl::Minutes(1);
constexpr MessageBound kWide = {.text_bytes = 1 << 20, .tensor_bytes = 1 << 20};

class RankLinkTest : public testing::Test {
 protected:
  // What rank 0 gets of it.
  absl::StatusOr<RankMessage> Pass(const RankMessage& message, MessageBound bound) {
    std::thread sender([&] { pair_.rank->Send(message, kLimit).IgnoreError(); });
    absl::StatusOr<RankMessage> got = pair_.rank0->Receive(kLimit, bound);
    pair_.rank0.reset();  // what is not taken any more
    sender.join();
    return got;
  }

  LinkedPair pair_;
};

TEST_F(RankLinkTest, AMessageArrivesAsItWasSent) {
  const RankMessage sent = {.word = RankWord::kResult,
                            .text = "words",
                            .tensors = {{"a", at::arange(6).reshape({2, 3})}, {"none", at::empty({0, 4})}},
                            .vectors = {{"v", at::rand({1000})}, {"strided", at::rand({20}).slice(0, 0, 20, 2)}}};
  const auto got = Pass(sent, kWide);
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->word, sent.word);
  EXPECT_EQ(got->text, sent.text);
  ASSERT_EQ(got->tensors.size(), 2u);
  EXPECT_TRUE(at::equal(got->tensors.at("a"), sent.tensors.at("a")));
  EXPECT_EQ(got->tensors.at("none").sizes(), at::IntArrayRef({0, 4}));
  ASSERT_EQ(got->vectors.size(), 2u);
  for (const auto& [name, vector] : sent.vectors) EXPECT_TRUE(at::equal(got->vectors.at(name), vector)) << name;
}

TEST_F(RankLinkTest, RefusesATextBeyondItsBound) {
  EXPECT_TRUE(absl::IsInvalidArgument(Pass({.text = std::string(4097, 'x')}, {.text_bytes = 4096}).status()));
}

TEST_F(RankLinkTest, RefusesTensorsBeyondTheirBound) {
  const absl::Status status = Pass({.vectors = {{"v", at::rand({1000})}}}, {.tensor_bytes = 3999}).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
}

TEST_F(RankLinkTest, TheOtherEndsDeathIsSeen) {
  pair_.rank.reset();
  EXPECT_TRUE(absl::IsUnavailable(pair_.rank0->Receive(kLimit, kWide).status()));
}

TEST_F(RankLinkTest, AWaitCanBeBroken) {
  std::thread breaker([&] { pair_.rank0->Break(); });
  EXPECT_TRUE(absl::IsCancelled(pair_.rank0->Receive(absl::Hours(1), kWide).status()));
  breaker.join();
  EXPECT_TRUE(absl::IsCancelled(pair_.rank0->Send({}, absl::Hours(1))));
}

}  // namespace
}  // namespace flowawr
