#include "actor/policy_buffer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <map>
#include <vector>

#include "common/base/sha256.h"
#include "common/rpc/blob_stream.h"

namespace flowawr {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class PolicyBufferTest : public ::testing::Test {
 protected:
  PolicyBufferTest() {
    for (uint64_t version : {1, 2, 3}) Publish(version, LoraAdapter::Initialise(layout_, version));
  }

  void Publish(uint64_t version, const LoraAdapter& adapter) {
    FetchedPolicy& policy = store_[version];
    policy.bytes = std::make_shared<const std::string>(adapter.SerializePeft().value());
    *policy.header.mutable_blob() = MakeBlobHeader(*policy.bytes);
    policy.header.mutable_policy()->set_version(version);
    policy.header.mutable_policy()->set_sha256(policy.header.blob().sha256());
    policy.header.mutable_policy()->set_modules(layout_->modules.size());
    policy.header.set_rank(layout_->rank);
    policy.header.set_alpha(layout_->alpha);
  }

  const std::shared_ptr<const Transformer> transformer_ =
      Transformer::Load("models/tiny-sd3/transformer", at::kFloat).value();
  const std::shared_ptr<const LoraLayout> layout_ =
      transformer_->MakeLoraLayout({"attn.to_q", "attn.to_v"}, 4, 8).value();
  std::map<uint64_t, FetchedPolicy> store_;
  std::vector<uint64_t> fetched_;
  std::vector<uint64_t> reported_;
  std::function<void()> at_report_;
  absl::Status report_result_;
  PolicyBuffer buffer_{*transformer_, layout_,
                       [this](uint64_t version) -> absl::StatusOr<FetchedPolicy> {
                         fetched_.push_back(version);
                         if (!store_.contains(version)) return absl::NotFoundError("no longer kept");
                         return store_[version];
                       },
                       [this](const v1::PolicyVersion& policy, int64_t modules) {
                         EXPECT_EQ(modules, layout_->modules.size());
                         reported_.push_back(policy.version());
                         if (at_report_) at_report_();
                         return report_result_;
                       }};
};

TEST_F(PolicyBufferTest, AdoptsAVersionOnceAndReportsIt) {
  for (int i = 0; i < 2; ++i) {
    const auto adopted = buffer_.Get(1);
    ASSERT_TRUE(adopted.ok()) << adopted.status();
    EXPECT_EQ((*adopted)->policy.version(), 1);
    EXPECT_EQ((*adopted)->adapter.modules(), layout_->modules.size());
  }
  EXPECT_THAT(fetched_, ElementsAre(1));
  EXPECT_THAT(reported_, ElementsAre(1));
  EXPECT_EQ(buffer_.newest_version(), 1);
}

TEST_F(PolicyBufferTest, KeepsTheTwoVersionsUsedLast) {
  for (uint64_t version : {1, 2, 1, 3, 1, 2}) ASSERT_TRUE(buffer_.Get(version).ok());
  EXPECT_THAT(fetched_, ElementsAre(1, 2, 3, 2));
}

TEST_F(PolicyBufferTest, LetsGoOfTheOldestVersionBeforeItHasBoundAnother) {
  const std::weak_ptr<const AdoptedPolicy> oldest = buffer_.Get(1).value();
  const std::weak_ptr<const AdoptedPolicy> newer = buffer_.Get(2).value();
  EXPECT_FALSE(oldest.expired());
  at_report_ = [&] {
    EXPECT_TRUE(oldest.expired());
    EXPECT_FALSE(newer.expired());
  };
  ASSERT_TRUE(buffer_.Get(3).ok());
}

TEST_F(PolicyBufferTest, LeavesAVersionToTheGroupThatHoldsIt) {
  const auto held = buffer_.Get(1);
  ASSERT_TRUE(held.ok());
  for (uint64_t version : {2, 3}) ASSERT_TRUE(buffer_.Get(version).ok());
  buffer_.Clear();
  EXPECT_EQ((*held)->policy.version(), 1);
  EXPECT_EQ((*held)->adapter.modules(), layout_->modules.size());
}

TEST_F(PolicyBufferTest, FetchesAnewOnceCleared) {
  ASSERT_TRUE(buffer_.Get(1).ok());
  buffer_.Clear();
  EXPECT_EQ(buffer_.newest_version(), 0);
  ASSERT_TRUE(buffer_.Get(1).ok());
  EXPECT_THAT(fetched_, ElementsAre(1, 1));
}

TEST_F(PolicyBufferTest, RefusesWhatIsNotWhatWasAnnounced) {
  store_[1].header.mutable_policy()->set_sha256(Sha256("other"));
  EXPECT_TRUE(absl::IsDataLoss(buffer_.Get(1).status()));
  store_[2].header.mutable_policy()->set_version(9);
  EXPECT_TRUE(absl::IsDataLoss(buffer_.Get(2).status()));
  store_[3].header.mutable_policy()->set_modules(layout_->modules.size() + 1);
  EXPECT_TRUE(absl::IsFailedPrecondition(buffer_.Get(3).status()));
  EXPECT_THAT(reported_, ::testing::IsEmpty());
}

TEST_F(PolicyBufferTest, RefusesAnAdapterOfAnotherShape) {
  store_[1].header.set_rank(8);
  EXPECT_THAT(std::string(buffer_.Get(1).status().message()), HasSubstr("rank 8"));
  Publish(2, LoraAdapter::Initialise(transformer_->MakeLoraLayout({"attn.to_k"}, 4, 8).value(), 1));
  EXPECT_TRUE(absl::IsFailedPrecondition(buffer_.Get(2).status())) << buffer_.Get(2).status();
  LoraAdapter broken = LoraAdapter::Initialise(layout_, 1);
  broken.flat()[0] = std::numeric_limits<float>::quiet_NaN();
  Publish(3, broken);
  EXPECT_TRUE(absl::IsFailedPrecondition(buffer_.Get(3).status())) << buffer_.Get(3).status();
}

TEST_F(PolicyBufferTest, NamesTheVersionThatCannotBeFetched) {
  const absl::Status status = buffer_.Get(7).status();
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("policy version 7"));
}

TEST_F(PolicyBufferTest, DoesNotKeepWhatTheLearnerRefuses) {
  report_result_ = absl::FailedPreconditionError("not what was published");
  EXPECT_TRUE(absl::IsFailedPrecondition(buffer_.Get(1).status()));
  report_result_ = absl::OkStatus();
  EXPECT_TRUE(buffer_.Get(1).ok());
  EXPECT_THAT(fetched_, ElementsAre(1, 1));
}

}  // namespace
}  // namespace flowawr
