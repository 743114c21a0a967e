#include "learner/ranks/rank_proof.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/base/status.h"
#include "tests/learner/ranks/linked_pair.h"

namespace flowawr {
namespace {

constexpr absl::Duration kLimit = absl::Minutes(1);
constexpr char kOne[] = "a-token-of-sixteen", kOther[] = "another-of-sixteen";

RankTokens Tokens(std::vector<std::string> tokens) {
  return [tokens] { return tokens; };
}

// What rank 0, and the other, end with.
std::pair<absl::Status, absl::Status> Exchange(const RankTokens& rank0s, const RankTokens& ranks,
                                               const std::string& hello_as_heard = "hello") {
  LinkedPair pair;
  absl::Status of_rank;
  std::thread rank([&] { of_rank = ProveToRank0(*pair.rank, ranks, "hello", kLimit); });
  absl::Status of_rank0 = AdmitRank(*pair.rank0, rank0s, hello_as_heard, kLimit);
  rank.join();
  return {of_rank0, of_rank};
}

void ExpectBothRefuse(const std::pair<absl::Status, absl::Status>& statuses) {
  EXPECT_TRUE(absl::IsPermissionDenied(statuses.first)) << statuses.first;
  EXPECT_TRUE(absl::IsPermissionDenied(statuses.second)) << statuses.second;
}

TEST(RankProof, TheSameTokenLetsIn) {
  for (const std::string token : {kOne, ""}) {
    const auto [of_rank0, of_rank] = Exchange(Tokens({token}), Tokens({token}));
    EXPECT_TRUE(of_rank0.ok()) << of_rank0;
    EXPECT_TRUE(of_rank.ok()) << of_rank;
  }
}

TEST(RankProof, RankZeroTakesTheOldTokenBesideTheNew) {
  EXPECT_TRUE(Exchange(Tokens({kOther, kOne}), Tokens({kOne})).first.ok());
}

TEST(RankProof, AnotherTokenOrNoneIsRefused) {
  ExpectBothRefuse(Exchange(Tokens({kOne}), Tokens({kOther})));
  ExpectBothRefuse(Exchange(Tokens({kOne}), Tokens({""})));
  ExpectBothRefuse(Exchange(Tokens({""}), Tokens({kOne})));
}

TEST(RankProof, AHelloThatWasChangedOnItsWayIsRefused) {
  ExpectBothRefuse(Exchange(Tokens({kOne}), Tokens({kOne}), "hullo"));
}

// A process that lets everybody in does not become rank 0 by that.
TEST(RankProof, WhatAnswersAsRankZeroMustKnowTheToken) {
  LinkedPair pair;
  absl::Status of_rank;
  std::thread rank([&] { of_rank = ProveToRank0(*pair.rank, Tokens({kOne}), "hello", kLimit); });
  ASSERT_TRUE(pair.rank0->Send({.word = RankWord::kProve, .text = "00"}, kLimit).ok());
  const auto answer = pair.rank0->Receive(kLimit);
  ASSERT_TRUE(answer.ok()) << answer.status();
  // Even the rank's own proof, sent back.
  ASSERT_TRUE(
      pair.rank0->Send({.word = RankWord::kWelcome, .text = answer->text.substr(answer->text.find(' ') + 1)}, kLimit)
          .ok());
  rank.join();
  EXPECT_TRUE(absl::IsPermissionDenied(of_rank)) << of_rank;
}

// Takes most of the time that it is given for a message, and answers at last.
class SlowLink final : public RankLink {
 public:
  absl::Status Send(const RankMessage&, absl::Duration limit) override { return Take(limit); }
  absl::StatusOr<RankMessage> Receive(absl::Duration limit, MessageBound) override {
    FLOWAWR_RETURN_IF_ERROR(Take(limit));
    return RankMessage{.word = RankWord::kProve, .text = "00"};
  }
  void Break() override {}
  TransferSeconds spent() const override { return {}; }
  const std::vector<absl::Duration>& limits() const { return limits_; }

 private:
  absl::Status Take(absl::Duration limit) {
    limits_.push_back(limit);
    pollfd none{};
    poll(&none, 0, /*timeout=*/static_cast<int>(absl::ToInt64Milliseconds(limit / 2)));
    return absl::OkStatus();
  }

  std::vector<absl::Duration> limits_;
};

TEST(RankProof, AllOfItsMessagesTogetherHaveTheTime) {
  constexpr absl::Duration kShort = absl::Milliseconds(200);
  SlowLink to_rank, to_rank0;
  AdmitRank(to_rank, Tokens({kOne}), "hello", kShort).IgnoreError();
  ProveToRank0(to_rank0, Tokens({kOne}), "hello", kShort).IgnoreError();
  for (const SlowLink* link : {&to_rank, &to_rank0}) {
    ASSERT_EQ(link->limits().size(), 3u);
    EXPECT_LE(link->limits()[1], kShort / 2 + absl::Milliseconds(1));
    EXPECT_LE(link->limits()[2], kShort / 4 + absl::Milliseconds(2));
    EXPECT_GT(link->limits()[2], absl::ZeroDuration()) << "which c10d takes for no limit";
  }
}

TEST(RankProof, ShowsNoToken) {
  LinkedPair pair;
  std::thread rank([&] { ProveToRank0(*pair.rank, Tokens({kOne}), "hello", kLimit).IgnoreError(); });
  ASSERT_TRUE(pair.rank0->Send({.word = RankWord::kProve, .text = "00"}, kLimit).ok());
  const auto answer = pair.rank0->Receive(kLimit);
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(answer->text.find(kOne), std::string::npos);
  EXPECT_EQ(answer->text.size(), 64u + 1 + 64);
  pair.rank0.reset();
  rank.join();
}

}  // namespace
}  // namespace flowawr
