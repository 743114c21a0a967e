// Submissions that a learner must refuse, over real gRPC, from an actor that holds a real lease: each gets a clear
// error, is counted, and neither costs a group nor changes the result.
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <memory>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "actor/learner_client.h"
#include "common/base/file.h"
#include "common/rpc/blob_stream.h"
#include "common/rpc/channel.h"
#include "common/rpc/status.h"
#include "common/sd3/component_fingerprints.h"
#include "common/sd3/transformer.h"
#include "common/sd3/transformer_config.h"
#include "common/tensor/safetensors.h"
#include "flowawr/v1/rollout.grpc.pb.h"
#include "tests/system/baseline.h"
#include "tests/system/cluster.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;

struct Submission {
  v1::GroupHeader header;
  std::vector<v1::BlobChunk> chunks;

  void SetBlob(const std::string& blob) {
    *header.mutable_blob() = MakeBlobHeader(blob);
    chunks.clear();
    SendBlob(blob, [this](v1::BlobChunk&& chunk) {
      chunks.push_back(std::move(chunk));
      return true;
    }).IgnoreError();
  }
};

std::string Blob(uint32_t samples, float x0) {
  const auto config =
      ParseTransformerConfig(ReadFile("models/tiny-sd3/transformer/config.json").value(), "config.json");
  EXPECT_TRUE(config.ok()) << config.status();
  return SerializeSafetensors({{"x0", at::full({samples, config->in_channels, 8, 16}, x0)},
                               {"prompt_embeds", at::zeros({3, config->joint_attention_dim})},
                               {"pooled_prompt_embeds", at::zeros({config->pooled_projection_dim})}})
      .value();
}

// A group that is right in every respect but its contents.
Submission Plausible(const v1::Lease& lease, const v1::PolicyVersion& policy, const std::string& session) {
  Submission submission;
  v1::GroupHeader& header = submission.header;
  header.set_actor_id("intruder");
  header.set_session(session);
  header.mutable_lease()->set_group_id(lease.group_id());
  header.mutable_lease()->set_attempt(lease.attempt());
  header.set_policy_version(lease.policy_version());
  header.set_policy_sha256(policy.sha256());
  header.set_bound_modules(policy.modules());
  header.set_reward_spec_version(lease.reward_spec().version());
  for (uint32_t sample = 0; sample < lease.samples(); ++sample) header.add_samples()->add_terms()->set_reward(0.5);
  submission.SetBlob(Blob(lease.samples(), 0.1f));
  return submission;
}

// As an honest actor tells it.
ComponentFingerprints TinyModel() {
  const auto transformer = Transformer::Load("models/tiny-sd3/transformer", at::kFloat);
  EXPECT_TRUE(transformer.ok()) << transformer.status();
  const auto model = FingerprintModel("models/tiny-sd3", **transformer, at::kFloat);
  EXPECT_TRUE(model.ok()) << model.status();
  return model.value_or(ComponentFingerprints());
}

absl::Status Submit(const std::string& endpoint, const Submission& submission) {
  const auto stub = v1::Rollout::NewStub(MakeChannel(endpoint, v1::NetworkConfig()).value());
  const auto context = MakeContext(kPatience, v1::NetworkConfig());
  v1::SubmitGroupResponse response;
  const auto stream = stub->SubmitGroup(context.get(), &response);
  v1::SubmitGroupRequest request;
  *request.mutable_header() = submission.header;
  bool is_open = stream->Write(request);
  for (const v1::BlobChunk& chunk : submission.chunks) {
    *request.mutable_chunk() = chunk;
    is_open = is_open && stream->Write(request);
  }
  stream->WritesDone();
  return FromGrpc(stream->Finish());
}

class BadGroupsTest : public ::testing::Test {
 protected:
  // A training lease for the intruder: taken while no other actor runs.
  void SetUp() override {
    cluster_.StartRewards();
    cluster_.StartLearner();
    cluster_.StartActor("actor-0");
    cluster_.WaitForStatus([](const v1::Status& status) { return status.phase() == v1::RUNNING; });
    cluster_.actor("actor-0").Kill();
    auto client = LearnerClient::Create(cluster_.learner_endpoint(), v1::NetworkConfig(), "intruder");
    ASSERT_TRUE(client.ok()) << client.status();
    client_ = *std::move(client);
    ASSERT_TRUE(client_->Register(TinyModel(), "cpu").ok());
    while (lease_.purpose() != v1::TRAINING) {
      const auto answer = client_->AcquireLease(absl::Seconds(10));
      ASSERT_TRUE(answer.ok()) << answer.status();
      if (answer->has_lease()) lease_ = answer->lease();
    }
    const auto fetched = client_->FetchPolicy(lease_.policy_version(), uint64_t{64} << 20);
    ASSERT_TRUE(fetched.ok()) << fetched.status();
    policy_ = fetched->header.policy();
  }

  absl::Status Submit(const Submission& submission) { return flowawr::Submit(cluster_.learner_endpoint(), submission); }

  Cluster cluster_;
  std::unique_ptr<LearnerClient> client_;
  v1::Lease lease_;
  v1::PolicyVersion policy_;
};

TEST_F(BadGroupsTest, AreRefusedWithAReasonAndTheRunEndsAsIfTheyHadNeverCome) {
  const Submission good = Plausible(lease_, policy_, client_->session());
  auto expect_refused = [this](const char* what, const Submission& submission, absl::StatusCode code,
                               const char* reason) {
    const absl::Status status = Submit(submission);
    EXPECT_EQ(status.code(), code) << what << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(reason)) << what;
  };

  Submission bad = good;
  bad.header.mutable_lease()->set_group_id(lease_.group_id() + 1'000'000);
  expect_refused("unknown lease", bad, absl::StatusCode::kNotFound, "never leased");
  bad = good;
  bad.header.set_policy_version(lease_.policy_version() + 1);
  expect_refused("wrong version", bad, absl::StatusCode::kFailedPrecondition, "policy version");
  bad = good;
  bad.header.set_policy_sha256(std::string(32, 'x'));
  expect_refused("wrong adapter", bad, absl::StatusCode::kFailedPrecondition, "digest");
  bad = good;
  bad.header.set_bound_modules(0);
  expect_refused("unbound adapter", bad, absl::StatusCode::kFailedPrecondition, "bound");
  bad = good;
  bad.header.set_reward_spec_version(lease_.reward_spec().version() + 1);
  expect_refused("wrong reward spec", bad, absl::StatusCode::kFailedPrecondition, "reward spec");
  bad = good;
  bad.header.mutable_samples(0)->mutable_terms(0)->set_reward(std::numeric_limits<double>::quiet_NaN());
  expect_refused("NaN reward", bad, absl::StatusCode::kInvalidArgument, "finite");
  bad = good;
  bad.header.mutable_samples()->RemoveLast();
  expect_refused("a sample missing", bad, absl::StatusCode::kInvalidArgument, "samples");
  bad = good;
  bad.SetBlob(Blob(lease_.samples(), std::numeric_limits<float>::quiet_NaN()));
  expect_refused("NaN latents", bad, absl::StatusCode::kInvalidArgument, "NaN");
  bad = good;
  bad.SetBlob(Blob(lease_.samples(), 3e38f));
  expect_refused("absurd latents", bad, absl::StatusCode::kInvalidArgument, "of actor intruder: x0 holds a value");
  bad = good;
  bad.header.mutable_samples(0)->mutable_terms(0)->set_reward(1e200);
  expect_refused("absurd reward", bad, absl::StatusCode::kInvalidArgument, "beyond");
  bad = good;
  bad.header.set_session("another");
  expect_refused("another's name", bad, absl::StatusCode::kFailedPrecondition, "not registered");
  bad = good;  // of the same batch, offered and never leased to anybody
  bad.header.mutable_lease()->set_group_id(lease_.group_id() ^ 1);
  expect_refused("not its lease", bad, absl::StatusCode::kPermissionDenied, "was never leased to actor");
  bad = good;
  bad.SetBlob(Blob(lease_.samples() + 1, 0.1f));
  expect_refused("a latent too many", bad, absl::StatusCode::kInvalidArgument, "");
  bad = good;
  bad.SetBlob("not a safetensors file");
  expect_refused("no safetensors file", bad, absl::StatusCode::kInvalidArgument, "");

  // The stream itself. Small chunks, so that there is an order to disturb.
  Submission chunked = good;
  const std::string blob = Blob(lease_.samples(), 0.1f);
  chunked.chunks.clear();
  for (size_t offset = 0; offset < blob.size(); offset += 1000) {
    v1::BlobChunk chunk;
    chunk.set_offset(offset);
    chunk.set_data(blob.substr(offset, 1000));
    chunked.chunks.push_back(chunk);
  }
  ASSERT_GT(chunked.chunks.size(), 3);
  bad = chunked;
  bad.chunks.pop_back();
  expect_refused("cut stream", bad, absl::StatusCode::kDataLoss, "");
  bad = chunked;
  std::swap(bad.chunks[1], bad.chunks[2]);
  expect_refused("reordered stream", bad, absl::StatusCode::kFailedPrecondition, "");
  bad = chunked;
  bad.chunks.push_back(bad.chunks.back());
  bad.chunks.back().set_offset(blob.size());
  expect_refused("too long a stream", bad, absl::StatusCode::kOutOfRange, "");
  bad = chunked;
  bad.header.mutable_blob()->set_sha256(std::string(32, 'x'));
  expect_refused("wrong digest", bad, absl::StatusCode::kDataLoss, "");
  bad = good;
  bad.header.mutable_blob()->set_size(uint64_t{1} << 40);
  expect_refused("a terabyte announced", bad, absl::StatusCode::kInvalidArgument, "");
  bad = good;
  bad.chunks.clear();
  expect_refused("no contents", bad, absl::StatusCode::kDataLoss, "");

  // Handed back, its group is made by an honest actor; what comes for it later is late.
  ASSERT_TRUE(client_->FailLease(good.header.lease(), "test", "handed back").ok());
  cluster_.StartActor("actor-0");
  cluster_.StartActor("actor-1");
  cluster_.WaitForUpdate(1);
  expect_refused("late and a duplicate", good, absl::StatusCode::kAlreadyExists, "accepted before");
  const v1::Status status = cluster_.WaitForUpdate(2);
  for (const char* cause : {"unknown_lease", "wrong_version", "wrong_digest", "unbound_adapter", "wrong_reward_spec",
                            "bad_reward", "not_finite", "out_of_range", "not_leased", "malformed", "broken_stream",
                            "too_large", "duplicate"})
    EXPECT_THAT(status.dropped(), ::testing::Contains(::testing::Key(cause)));
  cluster_.ExpectToFinish();
  EXPECT_TRUE(cluster_.ExportedAdapter() == BaselineAdapter());
}

// Over real gRPC, beside an honest one: an actor that fails whatever it gets, as one with a wrong reward address does.
TEST(BadActorTest, DoesNotUseUpTheAttemptsThatOthersWouldMake) {
  ASSERT_FALSE(BaselineAdapter().empty());
  Cluster cluster({"rollout.max_attempts=2"});
  cluster.StartRewards();
  cluster.StartLearner();
  auto bad = LearnerClient::Create(cluster.learner_endpoint(), v1::NetworkConfig(), "bad");
  ASSERT_TRUE(bad.ok()) << bad.status();
  ASSERT_TRUE((*bad)->Register(TinyModel(), "cpu").ok());
  cluster.StartActor("good");
  cluster.WaitForStatus([](const v1::Status& status) { return status.actors_size() == 2; });
  int failed = 0;
  std::thread failing([&] {
    while (true) {
      const auto answer = (*bad)->AcquireLease(absl::Seconds(5));
      if (!answer.ok() || answer->run_finished()) return;
      if (!answer->has_lease()) continue;
      v1::LeaseRef ref;
      ref.set_group_id(answer->lease().group_id());
      ref.set_attempt(answer->lease().attempt());
      if ((*bad)->FailLease(ref, "reward_failed", "no reward server answers").ok()) ++failed;
    }
  });
  const v1::Status warned = cluster.WaitForStatus(
      [](const v1::Status& status) { return status.warnings_size() > 0 || status.phase() == v1::PAUSED; });
  EXPECT_NE(warned.phase(), v1::PAUSED) << warned.message();
  EXPECT_THAT(warned.warnings(), ::testing::Contains(HasSubstr("actor bad failed 3 groups in a row")));
  cluster.ExpectToFinish();
  failing.join();
  EXPECT_GE(failed, 3);
  EXPECT_TRUE(cluster.ExportedAdapter() == BaselineAdapter());
}

// Who knows an actor's name can neither take its leases away nor speak for it.
TEST(BadActorTest, CannotTakeTheNameOfALiveOne) {
  ASSERT_FALSE(BaselineAdapter().empty());
  Cluster cluster;
  cluster.StartAll();
  auto thief = LearnerClient::Create(cluster.learner_endpoint(), v1::NetworkConfig(), "actor-0");
  ASSERT_TRUE(thief.ok()) << thief.status();
  cluster.WaitForStatus([](const v1::Status& status) { return status.phase() == v1::RUNNING; });
  EXPECT_EQ((*thief)->Register({}, "cpu").status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ((*thief)->AcquireLease(absl::Seconds(1)).status().code(), absl::StatusCode::kFailedPrecondition);
  cluster.ExpectToFinish();
  EXPECT_TRUE(cluster.ExportedAdapter() == BaselineAdapter());
}

}  // namespace
}  // namespace flowawr
