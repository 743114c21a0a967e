#include "actor/policy_fetcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/text_serializer.h>

#include <deque>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "common/base/clock.h"
#include "common/base/sha256.h"

namespace flowawr {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr uint64_t kMaxBytes = 100;

class PolicyFetcherTest : public ::testing::Test {
 protected:
  PolicyFetcherTest() {
    held_.SetFetchKey("a key");
    fetcher_.Announced(policy_.header.policy());
  }

  static FetchedPolicy Policy() {
    FetchedPolicy policy;
    policy.bytes = std::make_shared<const std::string>("adapter");
    *policy.header.mutable_blob() = MakeBlobHeader(*policy.bytes);
    policy.header.mutable_policy()->set_version(7);
    policy.header.mutable_policy()->set_role(v1::BEHAVIOUR_POLICY);
    policy.header.mutable_policy()->set_sha256(policy.header.blob().sha256());
    policy.header.mutable_policy()->set_size(policy.bytes->size());
    return policy;
  }
  static PolicyAnswer Named(const std::string& endpoint, double retry_after_s = 0) {
    PolicyAnswer answer;
    answer.peer.emplace();
    answer.peer->set_endpoint(endpoint);
    answer.peer->set_retry_after_s(retry_after_s);
    return answer;
  }
  PolicyFetcher::Sources Sources() {
    return {.learner =
                [this](uint64_t, uint64_t, const std::vector<std::string>& failed) {
                  ++copies_;
                  failed_ = failed;
                  return learner_;
                },
            .find =
                [this](uint64_t, uint64_t, const std::vector<std::string>& failed) -> absl::StatusOr<PolicyAnswer> {
              failed_ = failed;
              if (answers_.empty()) return PolicyAnswer{.policy = policy_};
              PolicyAnswer answer = answers_.front();
              if (answers_.size() > 1) answers_.pop_front();
              return answer;
            },
            .peer = [this](const std::string& endpoint, const v1::PolicyVersion&,
                           absl::Time give_up) -> absl::StatusOr<FetchedPolicy> {
              asked_.push_back(endpoint);
              if (endpoint == "good:1") return policy_;
              if (endpoint == "slow:1") {
                absl::SleepFor(give_up - MonotonicNow());
                return absl::DeadlineExceededError("it sends and sends");
              }
              return absl::DataLossError("another digest");
            }};
  }
  std::string Page() const { return prometheus::TextSerializer().Serialize(registry_.Collect()); }

  const FetchedPolicy policy_ = Policy();
  absl::StatusOr<FetchedPolicy> learner_ = policy_;
  int copies_ = 0;                    // that the learner was asked for, whatever peers there are
  std::deque<PolicyAnswer> answers_;  // the last one stays
  std::vector<std::string> failed_, asked_;
  prometheus::Registry registry_;
  ActorMetrics metrics_{registry_};
  HeldPolicies held_;
  PolicyFetcher fetcher_{Sources(), &held_, &metrics_, /*patience=*/absl::Milliseconds(200)};
};

TEST_F(PolicyFetcherTest, FetchesFromThePeerThatTheLearnerNamesAndHoldsWhatItGot) {
  answers_ = {Named("", .001), Named("good:1")};
  const auto fetched = fetcher_.Fetch(7, kMaxBytes);
  ASSERT_TRUE(fetched.ok()) << fetched.status();
  EXPECT_EQ(fetched->bytes, policy_.bytes) << "not a copy";
  EXPECT_EQ(copies_, 0);
  ASSERT_NE(held_.Find(Sha256(*policy_.bytes)), nullptr);
  EXPECT_EQ(held_.Find(Sha256(*policy_.bytes))->bytes, policy_.bytes);
  EXPECT_THAT(Page(), HasSubstr("flowawr_actor_policy_fetches_total{source=\"peer\"} 1\n"));
}

TEST_F(PolicyFetcherTest, TellsWhoFailedAndAsksTheNext) {
  answers_ = {Named("liar:1"), Named("good:1")};
  ASSERT_TRUE(fetcher_.Fetch(7, kMaxBytes).ok());
  EXPECT_THAT(asked_, ElementsAre("liar:1", "good:1"));
  EXPECT_THAT(failed_, ElementsAre("liar:1"));
  EXPECT_THAT(Page(), HasSubstr("flowawr_actor_policy_peer_failures_total{cause=\"wrong_bytes\"} 1\n"));
}

TEST_F(PolicyFetcherTest, AsksTheLearnerForTheCopyAfterAFewPeersThatFailed) {
  answers_ = {Named("liar:1")};
  ASSERT_TRUE(fetcher_.Fetch(7, kMaxBytes).ok());
  EXPECT_THAT(asked_, ElementsAre("liar:1", "liar:1", "liar:1"));
  EXPECT_EQ(failed_, asked_) << "the last one, too";
  EXPECT_EQ(copies_, 1);
  EXPECT_THAT(Page(), HasSubstr("flowawr_actor_policy_fetches_total{source=\"learner\"} 1\n"));
}

TEST_F(PolicyFetcherTest, AsksTheLearnerForTheCopyWhenNobodyHasItForLong) {
  answers_ = {Named("", .01)};
  ASSERT_TRUE(fetcher_.Fetch(7, kMaxBytes).ok());
  EXPECT_THAT(asked_, IsEmpty());
  EXPECT_EQ(copies_, 1);
}

TEST_F(PolicyFetcherTest, ASlowPeerHoldsItNoLongerThanItsPatience) {
  answers_ = {Named("slow:1")};
  ASSERT_TRUE(fetcher_.Fetch(7, kMaxBytes).ok());
  EXPECT_THAT(asked_, ElementsAre("slow:1"));
  EXPECT_THAT(failed_, ElementsAre("slow:1"));
  EXPECT_EQ(copies_, 1);
}

TEST_F(PolicyFetcherTest, BlamesNoPeerThatWasNamedWhenTheTimeWasAlmostOver) {
  PolicyFetcher fetcher(Sources(), &held_, &metrics_, /*patience=*/absl::Milliseconds(60));
  fetcher.Announced(policy_.header.policy());
  answers_ = {Named("", .05), Named("slow:1")};
  ASSERT_TRUE(fetcher.Fetch(7, kMaxBytes).ok());
  EXPECT_THAT(failed_, IsEmpty());
  EXPECT_EQ(copies_, 1);
}

TEST_F(PolicyFetcherTest, HoldsNothingThatNobodyWillAskFor) {
  FetchedPolicy evaluated = policy_;
  evaluated.header.mutable_policy()->set_role(v1::AVERAGE_POLICY);
  learner_ = evaluated;
  ASSERT_TRUE(fetcher_.Fetch(8, kMaxBytes).ok());
  EXPECT_EQ(held_.Find(Sha256(*policy_.bytes)), nullptr);
}

TEST_F(PolicyFetcherTest, WithoutTheLearnersKeyItAsksForNoPeer) {
  held_.SetFetchKey("");
  answers_ = {Named("good:1")};
  ASSERT_TRUE(fetcher_.Fetch(7, kMaxBytes).ok());
  EXPECT_THAT(asked_, IsEmpty());
  EXPECT_EQ(copies_, 1);
}

TEST_F(PolicyFetcherTest, TakesWhatTheLearnerHasNotAnnouncedOrIsTooLargeFromTheLearner) {
  answers_ = {Named("good:1")};
  EXPECT_TRUE(fetcher_.Fetch(8, kMaxBytes).ok());
  EXPECT_TRUE(fetcher_.Fetch(7, policy_.bytes->size() - 1).ok());
  fetcher_.ForgetAnnounced();
  EXPECT_TRUE(fetcher_.Fetch(7, kMaxBytes).ok());
  EXPECT_THAT(asked_, IsEmpty());
  EXPECT_EQ(copies_, 3);
}

TEST_F(PolicyFetcherTest, WithoutServingItAsksForNoPeer) {
  PolicyFetcher fetcher(Sources(), nullptr, &metrics_);
  fetcher.Announced(policy_.header.policy());
  answers_ = {Named("good:1")};
  EXPECT_TRUE(fetcher.Fetch(7, kMaxBytes).ok());
  EXPECT_THAT(asked_, IsEmpty());
}

TEST_F(PolicyFetcherTest, ReturnsTheLearnersError) {
  learner_ = absl::NotFoundError("policy version 8 is not kept");
  EXPECT_EQ(fetcher_.Fetch(8, kMaxBytes).status(), learner_.status());
}

TEST_F(PolicyFetcherTest, StopsWaiting) {
  PolicyFetcher fetcher(Sources(), &held_, &metrics_, absl::Hours(1));
  fetcher.Announced(policy_.header.policy());
  answers_ = {Named("", 3600)};
  std::thread stopper([&] { fetcher.Stop(); });
  EXPECT_EQ(fetcher.Fetch(7, kMaxBytes).status().code(), absl::StatusCode::kCancelled);
  stopper.join();
}

}  // namespace
}  // namespace flowawr
