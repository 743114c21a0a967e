#include "learner/ranks/rank_facts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>

namespace flowawr {
namespace {

using ::testing::HasSubstr;

RankFacts Facts(int rank) {
  RankFacts facts{.rank = rank,
                  .session = "s",
                  .host = "10.0.0.2",
                  .rank0_host = "10.0.0.1",
                  .devices = {"cpu"},
                  .version = "1.2",
                  .instruction_set = "avx2",
                  .model = {{"transformer", "aa"}, {"vae", "bb"}}};
  facts.config.set_seed(3);
  facts.config.mutable_train()->set_ranks(3);
  return facts;
}

TEST(RankFacts, SurviveTheWay) {
  const auto read = ParseFacts(SerializeFacts(Facts(2)));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(SerializeFacts(*read), SerializeFacts(Facts(2)));
  EXPECT_EQ(read->config.seed(), 3);
  EXPECT_FALSE(ParseFacts("{}").ok());
  EXPECT_FALSE(ParseFacts("GET / HTTP/1.1").ok());
}

TEST(RankFacts, NoDamageEndsTheProcess) {
  const std::string good = SerializeFacts(Facts(2));
  std::mt19937 random(1);
  for (int i = 0; i < 20000; ++i) {
    std::string text = good;
    for (unsigned changes = 1 + random() % 4; changes > 0; --changes)
      text[random() % text.size()] = static_cast<char>(random());
    if (const auto read = ParseFacts(text); read.ok()) CheckFacts(Facts(0), *read).IgnoreError();
  }
}

TEST(RankFacts, RefusesNamesThatAreNone) {
  RankFacts facts = Facts(1);
  facts.session = std::string(2000, 's');
  EXPECT_TRUE(absl::IsInvalidArgument(ParseFacts(SerializeFacts(facts)).status()));
  facts = Facts(1);
  facts.host = "10.0.0.2\n\x1b[2J";
  EXPECT_TRUE(absl::IsInvalidArgument(ParseFacts(SerializeFacts(facts)).status()));
  facts = Facts(1);
  facts.devices.assign(1000, "cuda:0");
  EXPECT_TRUE(absl::IsInvalidArgument(ParseFacts(SerializeFacts(facts)).status()));
}

TEST(RankFacts, EveryDifferenceIsNamed) {
  RankFacts other = Facts(1);
  other.config.set_seed(4);
  other.config.mutable_train()->set_ranks(2);
  other.version = "1.3";
  other.instruction_set = "avx512";
  other.model = {{"transformer", "cc"}};
  const absl::Status status = CheckFacts(Facts(0), other);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  for (const char* words : {"seed: 3 -> 4", "train.ranks: 3 -> 2", "software version: 1.2 -> 1.3", "avx2 -> avx512",
                            "model, transformer: aa -> cc"})
    EXPECT_THAT(std::string(status.message()), HasSubstr(words));
  EXPECT_THAT(std::string(status.message()), testing::Not(HasSubstr("vae")));
}

TEST(RankFacts, ARankIsOneOfTheRun) {
  EXPECT_TRUE(CheckFacts(Facts(0), Facts(1)).ok());
  EXPECT_TRUE(CheckFacts(Facts(0), Facts(2)).ok());
  for (const int none : {-1, 0, 3}) EXPECT_TRUE(absl::IsInvalidArgument(CheckFacts(Facts(0), Facts(none)))) << none;
}

TEST(RankFacts, WhatDecidesNoBitMayDiffer) {
  v1::RunConfig config;
  config.mutable_train()->set_threads(3);
  config.mutable_model()->set_path("elsewhere");
  config.set_run_dir("somewhere");
  EXPECT_EQ(GradientConfig(config).SerializeAsString(), GradientConfig({}).SerializeAsString());
  config.mutable_train()->set_micro_batch(5);
  EXPECT_NE(GradientConfig(config).SerializeAsString(), GradientConfig({}).SerializeAsString());
}

}  // namespace
}  // namespace flowawr
