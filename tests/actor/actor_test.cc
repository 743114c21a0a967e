// A whole actor, with the embedded model, against a scripted learner and reward server over real gRPC.
#include "actor/actor.h"

#include <ATen/ops/isfinite.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/registry.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <thread>

#include "common/base/sha256.h"
#include "common/rpc/blob_stream.h"
#include "common/sd3/component_fingerprints.h"
#include "common/sd3/prompt_embedder.h"
#include "common/tensor/safetensors.h"
#include "tests/actor/scripted_learner.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;

v1::RunConfig TinyConfig() {
  v1::RunConfig config;
  config.set_name("test");
  config.mutable_model()->set_path("models/tiny-sd3");
  config.mutable_model()->set_dtype(v1::FLOAT32);
  config.mutable_model()->set_height(32);
  config.mutable_model()->set_width(64);
  config.mutable_model()->set_max_sequence_length(32);
  config.mutable_sampler()->set_graph_batch(4);
  config.mutable_lora()->set_rank(4);
  config.mutable_lora()->set_alpha(8);
  for (const char* suffix : {"attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0"})
    config.mutable_lora()->add_target_modules(suffix);
  return config;
}

// Adapters that fit the configuration above; B is not zero, so that versions differ in what they draw.
LoraAdapter MakeAdapter(uint64_t seed) {
  static const std::shared_ptr<const LoraLayout> layout = [] {
    const auto transformer = Transformer::Load("models/tiny-sd3/transformer", at::kFloat).value();
    const v1::LoraConfig lora = TinyConfig().lora();
    return transformer->MakeLoraLayout({lora.target_modules().begin(), lora.target_modules().end()}, 4, 8).value();
  }();
  LoraAdapter adapter = LoraAdapter::Initialise(layout, seed);
  adapter.flat().narrow(0, layout->OffsetOfB(0), layout->size() - layout->OffsetOfB(0)).fill_(0.01 * seed);
  return adapter;
}

void Publish(ScriptedLearner& learner, uint64_t version, bool with_right_digest = true) {
  const LoraAdapter adapter = MakeAdapter(version);
  const std::string bytes = adapter.SerializePeft().value();
  v1::PolicyHeader header;
  *header.mutable_blob() = MakeBlobHeader(bytes);
  header.mutable_policy()->set_version(version);
  header.mutable_policy()->set_sha256(with_right_digest ? Sha256(bytes) : Sha256("something else"));
  header.mutable_policy()->set_modules(adapter.layout().modules.size());
  header.set_rank(4);
  header.set_alpha(8);
  learner.AddPolicy(version, bytes, header);
}

class ActorTest : public ::testing::Test {
 protected:
  ActorTest() : learner_(std::make_unique<ScriptedLearner>(TinyConfig())) {}
  ~ActorTest() override {
    StopActor().IgnoreError();
    learner_->Shutdown();
  }

  v1::Lease MakeLease(uint64_t group, uint64_t version = 1, uint32_t samples = 2) {
    v1::Lease lease;
    lease.set_group_id(group);
    lease.set_attempt(1);
    lease.set_purpose(v1::TRAINING);
    lease.mutable_prompt()->set_text("a sign that says \"CAT\"");
    lease.set_samples(samples);
    lease.set_noise_seed(5);
    lease.set_policy_version(version);
    lease.mutable_reward_spec()->set_version(3);
    v1::RewardSpecTerm& term = *lease.mutable_reward_spec()->add_terms();
    term.set_scorer("brightness");
    term.set_endpoint(rewards_.endpoint());
    term.set_weight(1);
    term.set_is_required(true);
    term.set_timeout_s(20);
    lease.mutable_sampler()->set_solver(v1::DPM_SOLVER_PP_2M);
    lease.mutable_sampler()->set_steps(3);
    lease.set_expires_in_s(60);
    return lease;
  }

  void StartActor(absl::Duration give_up_after = absl::Minutes(1)) {
    ActorOptions options;
    options.learner = learner_->endpoint();
    options.id = "actor-under-test";
    options.give_up_after = give_up_after;
    registry_ = std::make_unique<prometheus::Registry>();
    metrics_ = std::make_unique<ActorMetrics>(*registry_);
    auto client = LearnerClient::Create(options.learner, {}, options.id);
    ASSERT_TRUE(client.ok()) << client.status();
    actor_ = std::make_unique<Actor>(options, *std::move(client), *metrics_);
    runner_ = std::thread([this] { result_ = actor_->Run(); });
  }

  // The run's result, once it has come to its end by itself.
  absl::Status Join() {
    runner_.join();
    return result_;
  }

  absl::Status StopActor() {
    if (!runner_.joinable()) return absl::OkStatus();
    actor_->Stop();
    return Join();
  }

  // Runs a new actor on the leases to the end of the run.
  LearnerLog RunToTheEnd() {
    learner_->FinishOnceSettled();
    learner_->Start();
    StartActor();
    const absl::Status status = Join();
    EXPECT_TRUE(status.ok()) << status;
    return learner_->log();
  }

  BrightnessServer rewards_;
  std::unique_ptr<ScriptedLearner> learner_;
  std::unique_ptr<prometheus::Registry> registry_;
  std::unique_ptr<ActorMetrics> metrics_;
  std::unique_ptr<Actor> actor_;
  std::thread runner_;
  absl::Status result_ = absl::UnknownError("not run");
};

at::Tensor Blob(const LearnerLog::Group& group, const std::string& name) {
  const auto file = SafetensorsFile::Parse(group.blob, "blob");
  EXPECT_TRUE(file.ok()) << file.status();
  const auto found = file->tensors().find(name);
  EXPECT_NE(found, file->tensors().end()) << name;
  return found->second;
}

TEST_F(ActorTest, DeliversEveryGroupAndEndsWithTheRun) {
  Publish(*learner_, 1);
  for (uint64_t group = 0; group < 3; ++group) learner_->AddLease(MakeLease(group));
  const LearnerLog log = RunToTheEnd();
  EXPECT_THAT(log.failures, ::testing::IsEmpty());
  ASSERT_EQ(log.groups.size(), 3);
  std::set<uint64_t> ids;
  for (const LearnerLog::Group& group : log.groups) {
    ids.insert(group.header.lease().group_id());
    EXPECT_EQ(group.header.actor_id(), "actor-under-test");
    EXPECT_EQ(group.header.policy_version(), 1);
    EXPECT_EQ(group.header.policy_sha256(), Sha256(MakeAdapter(1).SerializePeft().value()));
    EXPECT_EQ(group.header.bound_modules(), MakeAdapter(1).layout().modules.size());
    EXPECT_EQ(group.header.reward_spec_version(), 3);
    ASSERT_EQ(group.header.samples_size(), 2);
    for (const v1::SampleScores& sample : group.header.samples()) {
      ASSERT_EQ(sample.terms_size(), 1);
      EXPECT_GT(sample.terms(0).reward(), 0);
    }
    EXPECT_THAT(Blob(group, "x0").sizes(), ::testing::ElementsAre(2, 8, 8, 16));
    EXPECT_TRUE(at::isfinite(Blob(group, "x0")).all().item<bool>());
    EXPECT_FALSE(Blob(group, "x0")[0].equal(Blob(group, "x0")[1]));
    EXPECT_EQ(Blob(group, "prompt_embeds").dim(), 2);
    EXPECT_EQ(Blob(group, "pooled_prompt_embeds").dim(), 1);
    for (const char* stage : {"encode", "sample", "decode", "score"})
      EXPECT_TRUE(group.header.stage_seconds().contains(stage)) << stage;
  }
  EXPECT_EQ(ids, (std::set<uint64_t>{0, 1, 2}));
  ASSERT_THAT(log.registrations, ::testing::ElementsAre(::testing::IsEmpty(), ::testing::SizeIs(14)));
  for (const char* part : {"transformer", "vae", "tokenizer_3", "text_encoder_2 weights"})
    EXPECT_THAT(log.registrations[1].at(part), ::testing::SizeIs(64)) << part;
  EXPECT_EQ(log.registrations[1].at("dtype"), "float32");
  EXPECT_EQ(log.goodbyes, 1);
}

TEST_F(ActorTest, MakesTheSameBitsOfTheSameLease) {
  std::vector<std::string> blobs;
  for (int run = 0; run < 2; ++run) {
    learner_ = std::make_unique<ScriptedLearner>(TinyConfig());
    Publish(*learner_, 1);
    // The second actor meets the lease after another one.
    if (run == 1) learner_->AddLease(MakeLease(8));
    learner_->AddLease(MakeLease(9));
    const LearnerLog log = RunToTheEnd();
    ASSERT_FALSE(log.groups.empty());
    const auto group = std::find_if(log.groups.begin(), log.groups.end(), [](const LearnerLog::Group& group) {
      return group.header.lease().group_id() == 9;
    });
    ASSERT_NE(group, log.groups.end());
    blobs.push_back(group->blob);
    learner_->Shutdown();
  }
  EXPECT_EQ(blobs[0], blobs[1]);
}

// A model whose text encoders have no weights, and a cache that holds the embeddings of one prompt.
class ActorWithCacheTest : public ActorTest {
 protected:
  static constexpr char kCached[] = "a sign that says \"CAT\"";

  ActorWithCacheTest() {
    const std::string model = folder_ / "model", cache = folder_ / "cache";
    EXPECT_TRUE(
        PromptEmbedder::Create("models/tiny-sd3", {.max_sequence_length = 32}, cache).value()->Embed(kCached).ok());
    std::filesystem::copy("models/tiny-sd3", model, std::filesystem::copy_options::recursive);
    for (const char* suffix : {"", "_2", "_3"})
      std::filesystem::remove(model + "/text_encoder" + suffix + "/model.safetensors");
    v1::RunConfig config = TinyConfig();
    config.mutable_model()->set_path(model);
    config.mutable_model()->set_embeds_cache(cache);
    learner_ = std::make_unique<ScriptedLearner>(config);
    Publish(*learner_, 1);
  }

  const TempFolder folder_;
};

TEST_F(ActorWithCacheTest, NeedsNoTextEncoderForPromptsThatTheCacheHolds) {
  v1::Lease evaluation = MakeLease(2);
  evaluation.set_purpose(v1::EVALUATION);
  learner_->AddLease(MakeLease(1));
  learner_->AddLease(evaluation);
  const LearnerLog log = RunToTheEnd();
  EXPECT_THAT(log.failures, ::testing::IsEmpty());
  EXPECT_EQ(log.groups.size(), 2);
}

// Not what lies in its folder, but what made the embeddings, is what it tells.
TEST_F(ActorWithCacheTest, TellsTheTextEncodersThatMadeTheCache) {
  learner_->AddLease(MakeLease(1));
  const LearnerLog log = RunToTheEnd();
  ASSERT_EQ(log.registrations.size(), 2);
  const auto transformer = Transformer::Load("models/tiny-sd3/transformer", at::kFloat);
  const auto whole = FingerprintModel("models/tiny-sd3", **transformer, at::kFloat);
  ASSERT_TRUE(whole.ok()) << whole.status();
  EXPECT_EQ(log.registrations[1], *whole);
}

TEST_F(ActorWithCacheTest, HandsBackAPromptThatItCannotEncodeAndSaysWhatIsMissing) {
  v1::Lease lease = MakeLease(1);
  lease.mutable_prompt()->set_text("a dog");
  learner_->AddLease(lease);
  learner_->AddLease(MakeLease(2));
  const LearnerLog log = RunToTheEnd();
  EXPECT_EQ(log.groups.size(), 1);
  ASSERT_EQ(log.failures.size(), 1);
  EXPECT_EQ(log.failures[0].cause(), "encode_failed");
  EXPECT_THAT(log.failures[0].message(), ::testing::AllOf(HasSubstr("\"a dog\" is not in the cache"),
                                                          HasSubstr("text_encoder: "), HasSubstr("flowawr encode")));
}

TEST_F(ActorTest, SamplesWithTheVersionThatTheLeaseNames) {
  for (uint64_t version : {1, 2, 3}) Publish(*learner_, version);
  for (uint64_t version : {2, 1, 3, 2}) learner_->AddLease(MakeLease(/*group=*/7, version));
  const LearnerLog log = RunToTheEnd();
  ASSERT_EQ(log.groups.size(), 4);
  std::map<uint64_t, at::Tensor> drawn;
  for (const LearnerLog::Group& group : log.groups) {
    const uint64_t version = group.header.policy_version();
    EXPECT_EQ(group.header.policy_sha256(), Sha256(MakeAdapter(version).SerializePeft().value()));
    const at::Tensor x0 = Blob(group, "x0");
    if (drawn.contains(version)) {
      EXPECT_TRUE(drawn[version].equal(x0));
    }
    drawn[version] = x0;
  }
  ASSERT_EQ(drawn.size(), 3);
  EXPECT_FALSE(drawn[1].equal(drawn[2]));
  EXPECT_FALSE(drawn[2].equal(drawn[3]));
  for (const v1::ReportAdoptionRequest& adoption : log.adoptions) {
    EXPECT_EQ(adoption.bound_modules(), MakeAdapter(1).layout().modules.size());
    EXPECT_FALSE(adoption.session().empty());
  }
}

TEST_F(ActorTest, ShipsImagesOfEvaluationLeasesThatWantThem) {
  Publish(*learner_, 1);
  for (uint64_t group = 0; group < 20; ++group) {
    v1::Lease lease = MakeLease(group, 1, /*samples=*/1);
    lease.set_purpose(v1::EVALUATION);
    lease.mutable_sampler()->set_solver(v1::EULER);
    lease.set_wants_images(group % 2 == 0);
    learner_->AddLease(lease);
  }
  const LearnerLog log = RunToTheEnd();
  ASSERT_EQ(log.groups.size(), 20);
  for (const LearnerLog::Group& group : log.groups) {
    const auto file = SafetensorsFile::Parse(group.blob, "blob");
    ASSERT_TRUE(file.ok()) << file.status();
    ASSERT_EQ(file->tensors().contains("images"), group.header.lease().group_id() % 2 == 0);
    if (!file->tensors().contains("images")) continue;
    const at::Tensor images = file->tensors().at("images");
    EXPECT_THAT(images.sizes(), ::testing::ElementsAre(1, 32, 64, 3));
    EXPECT_EQ(images.scalar_type(), at::kByte);
    // The picture is the one that was scored.
    EXPECT_NEAR(images.to(at::kDouble).mean().item<double>() / 255, group.header.samples(0).terms(0).reward(), 1e-9);
  }
}

// The way of a group of a policy gradient method, end to end.
TEST_F(ActorTest, BringsTrajectoryAndEmptyPromptOfLeasesThatAskForThem) {
  Publish(*learner_, 1);
  for (uint64_t group = 0; group < 2; ++group) {
    v1::Lease lease = MakeLease(group);
    lease.mutable_sampler()->set_guidance_scale(4.5);
    lease.mutable_stochastic()->set_kind(v1::FLOW_SDE);
    lease.mutable_stochastic()->set_noise_level(0.7);
    lease.mutable_stochastic()->set_count(2);
    learner_->AddLease(lease);
  }
  const LearnerLog log = RunToTheEnd();
  EXPECT_THAT(log.failures, ::testing::IsEmpty());
  ASSERT_EQ(log.groups.size(), 2);
  for (const LearnerLog::Group& group : log.groups) {
    EXPECT_THAT(Blob(group, "states").sizes(), ::testing::ElementsAre(2, 3, 8, 8, 16));
    EXPECT_THAT(Blob(group, "log_probs").sizes(), ::testing::ElementsAre(2, 2));
    EXPECT_TRUE(Blob(group, "negative_prompt_embeds").sizes() == Blob(group, "prompt_embeds").sizes());
    EXPECT_FALSE(Blob(group, "negative_prompt_embeds").equal(Blob(group, "prompt_embeds")));
    EXPECT_EQ(Blob(group, "negative_pooled_prompt_embeds").sizes(), Blob(group, "pooled_prompt_embeds").sizes());
  }
}

// In actor_on_device_test they are recorded; on the CPU nothing is.
TEST_F(ActorTest, StepsThatAreRecordedChangeNoBit) {
  std::map<uint64_t, at::Tensor> x0_of[2];
  for (const int is_recorded : {0, 1}) {
    v1::RunConfig config = TinyConfig();
    config.mutable_sampler()->set_graph_batch(is_recorded ? 4 : 0);
    learner_ = std::make_unique<ScriptedLearner>(config);
    for (const uint64_t version : {1, 2}) Publish(*learner_, version);
    for (uint64_t group = 0; group < 4; ++group) learner_->AddLease(MakeLease(group, /*version=*/1 + group / 2));
    const LearnerLog log = RunToTheEnd();
    ASSERT_EQ(log.groups.size(), 4);
    for (const LearnerLog::Group& group : log.groups)
      x0_of[is_recorded][group.header.lease().group_id()] = Blob(group, "x0");
  }
  for (const auto& [group, x0] : x0_of[0]) EXPECT_TRUE(x0.equal(x0_of[1][group])) << "group " << group;
  EXPECT_FALSE(x0_of[0][0].equal(x0_of[0][2]));
}

TEST_F(ActorTest, RefusesAnAdapterWithAnotherDigestThanAnnounced) {
  Publish(*learner_, 1, /*with_right_digest=*/false);
  learner_->AddLease(MakeLease(1));
  const LearnerLog log = RunToTheEnd();
  EXPECT_THAT(log.groups, ::testing::IsEmpty());
  ASSERT_EQ(log.failures.size(), 1);
  EXPECT_EQ(log.failures[0].cause(), "policy_failed");
  EXPECT_THAT(log.failures[0].message(), HasSubstr("digest"));
}

TEST_F(ActorTest, DoesNotSampleWhenTheLearnerRefusesItsReport) {
  Publish(*learner_, 1);
  learner_->RefuseAdoption();
  learner_->AddLease(MakeLease(1));
  const LearnerLog log = RunToTheEnd();
  EXPECT_THAT(log.groups, ::testing::IsEmpty());
  ASSERT_EQ(log.failures.size(), 1);
  EXPECT_EQ(log.failures[0].cause(), "policy_failed");
}

TEST_F(ActorTest, LeavesWithTheReasonWhenItsModelDiffers) {
  learner_->RefuseModel();
  learner_->Start();
  StartActor();
  const absl::Status status = Join();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("vae differs"));
}

TEST_F(ActorTest, GivesUpWithoutALearner) {
  learner_->Start();
  learner_->Shutdown();
  StartActor(/*give_up_after=*/absl::ZeroDuration());
  EXPECT_TRUE(absl::IsUnavailable(Join()));
}

TEST_F(ActorTest, HandsTheLeaseBackWhenARequiredScorerFails) {
  Publish(*learner_, 1);
  rewards_.Fail(v1::ScoreError::BROKEN);
  learner_->AddLease(MakeLease(1));
  const LearnerLog log = RunToTheEnd();
  EXPECT_THAT(log.groups, ::testing::IsEmpty());
  ASSERT_EQ(log.failures.size(), 1);
  EXPECT_EQ(log.failures[0].cause(), "reward_failed");
  EXPECT_FALSE(log.failures[0].is_handed_back());
  EXPECT_THAT(log.failures[0].message(), HasSubstr("scripted"));
}

TEST_F(ActorTest, SaysWhenAnImageCanNeverBeScored) {
  Publish(*learner_, 1);
  rewards_.Fail(v1::ScoreError::BAD_INPUT);
  learner_->AddLease(MakeLease(1));
  const LearnerLog log = RunToTheEnd();
  ASSERT_EQ(log.failures.size(), 1);
  EXPECT_EQ(log.failures[0].cause(), "reward_bad_input");
}

TEST_F(ActorTest, HandsAGroupBackOfWhichNothingWasScoredThoughNothingWasRequired) {
  Publish(*learner_, 1);
  rewards_.Fail(v1::ScoreError::BROKEN);
  v1::Lease lease = MakeLease(1);
  lease.mutable_reward_spec()->mutable_terms(0)->set_is_required(false);
  learner_->AddLease(lease);
  const LearnerLog log = RunToTheEnd();
  ASSERT_EQ(log.failures.size(), 1);
  EXPECT_EQ(log.failures[0].cause(), "reward_failed");
  EXPECT_THAT(log.failures[0].message(), HasSubstr("gave any reward"));
}

TEST_F(ActorTest, DeliversAgainAfterALostConnection) {
  Publish(*learner_, 1);
  learner_->FailNextSubmit(absl::UnavailableError("scripted"));
  learner_->AddLease(MakeLease(1));
  const LearnerLog log = RunToTheEnd();
  EXPECT_EQ(log.submits, 2);
  EXPECT_EQ(log.groups.size(), 1);
  EXPECT_THAT(log.failures, ::testing::IsEmpty());
}

TEST_F(ActorTest, DoesNotInsistWhenAGroupIsRefused) {
  Publish(*learner_, 1);
  learner_->FailNextSubmit(absl::InvalidArgumentError("not finite"));
  learner_->AddLease(MakeLease(1));
  const LearnerLog log = RunToTheEnd();
  EXPECT_EQ(log.submits, 1);
  ASSERT_EQ(log.failures.size(), 1);
  EXPECT_EQ(log.failures[0].cause(), "submit_refused");
}

TEST_F(ActorTest, HandsItsLeasesBackWhenStopped) {
  Publish(*learner_, 1);
  rewards_.Hold();
  for (uint64_t group = 0; group < 2; ++group) learner_->AddLease(MakeLease(group));
  learner_->Start();
  StartActor();
  ASSERT_TRUE(rewards_.WaitUntilHolding());
  EXPECT_TRUE(StopActor().ok());
  const LearnerLog log = learner_->log();
  EXPECT_THAT(log.groups, ::testing::IsEmpty());
  ASSERT_FALSE(log.failures.empty());
  for (const v1::FailLeaseRequest& failure : log.failures) {
    EXPECT_EQ(failure.cause(), "actor_stopping");
    EXPECT_TRUE(failure.is_handed_back());
  }
}

TEST_F(ActorTest, PutsDownWhatTheLearnerDropped) {
  Publish(*learner_, 1);
  rewards_.Hold();
  learner_->AddLease(MakeLease(1));
  learner_->Start();
  StartActor();
  ASSERT_TRUE(rewards_.WaitUntilHolding());
  learner_->DropLeases();
  EXPECT_TRUE(rewards_.WaitUntilCancelled());
  EXPECT_TRUE(StopActor().ok());
  EXPECT_EQ(learner_->log().submits, 0);
  EXPECT_THAT(learner_->log().failures, ::testing::IsEmpty());
}

TEST_F(ActorTest, RegistersAgainAfterTheLearnerWasRestarted) {
  Publish(*learner_, 1);
  learner_->AddLease(MakeLease(1));
  learner_->Start();
  const std::string endpoint = learner_->endpoint();
  StartActor();
  ASSERT_TRUE(learner_->WaitFor([](const LearnerLog& log) { return log.groups.size() == 1; }));
  learner_->Shutdown();
  learner_ = std::make_unique<ScriptedLearner>(TinyConfig());
  Publish(*learner_, 1);
  learner_->AddLease(MakeLease(2));
  learner_->FinishOnceSettled();
  learner_->Start(endpoint);
  const absl::Status status = Join();
  EXPECT_TRUE(status.ok()) << status;
  ASSERT_EQ(learner_->log().groups.size(), 1);
  EXPECT_EQ(learner_->log().groups[0].header.lease().group_id(), 2);
  // Adopted anew: a restarted learner may make other bytes under an old number.
  EXPECT_FALSE(learner_->log().adoptions.empty());
}

TEST_F(ActorTest, LeavesAtOnceWhenTheRunFinishedBeforeItCame) {
  learner_->FinishOnceSettled();  // nothing was leased
  learner_->Start();
  StartActor();
  const absl::Status status = Join();
  EXPECT_TRUE(status.ok()) << status;
  // Without loading its model.
  EXPECT_THAT(learner_->log().registrations, ::testing::ElementsAre(::testing::IsEmpty()));
}

TEST_F(ActorTest, LearnsThatTheRunFinishedWhileItWasSettingUp) {
  learner_->KeepModelWaiting();
  learner_->Start();
  StartActor();
  ASSERT_TRUE(learner_->WaitFor([](const LearnerLog& log) { return log.heartbeats > 0; }));
  learner_->FinishOnceSettled();
  const absl::Status status = Join();
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_THAT(learner_->log().registrations, ::testing::ElementsAre(::testing::IsEmpty()));
}

TEST_F(ActorTest, LeavesWhenTheRunFinishedWhileItWasReconnecting) {
  learner_->Start();
  const std::string endpoint = learner_->endpoint();
  StartActor();
  ASSERT_TRUE(learner_->WaitFor([](const LearnerLog& log) { return log.registrations.size() == 2; }));
  learner_->Shutdown();
  learner_ = std::make_unique<ScriptedLearner>(TinyConfig());
  learner_->FinishOnceSettled();
  learner_->Start(endpoint);
  const absl::Status status = Join();
  EXPECT_TRUE(status.ok()) << status;
  // Whichever answer comes first tells it: that to a heartbeat, or that to its registration.
  EXPECT_THAT(learner_->log().registrations,
              ::testing::AnyOf(::testing::IsEmpty(), ::testing::ElementsAre(::testing::SizeIs(14))));
}

TEST_F(ActorTest, RegistersAgainWhenAHeartbeatTellsThatItIsNotKnown) {
  Publish(*learner_, 1);
  learner_->Start();
  StartActor();
  ASSERT_TRUE(learner_->WaitFor([](const LearnerLog& log) { return log.registrations.size() == 2; }));
  learner_->Forget();
  ASSERT_TRUE(learner_->WaitFor([](const LearnerLog& log) { return log.registrations.size() == 3; }));
  EXPECT_TRUE(StopActor().ok());
  EXPECT_EQ(learner_->log().registrations[2], learner_->log().registrations[1]);
}

TEST_F(ActorTest, LeavesWhenTheLearnerComesBackWithAnotherModel) {
  learner_->Start();
  const std::string endpoint = learner_->endpoint();
  StartActor();
  ASSERT_TRUE(learner_->WaitFor([](const LearnerLog& log) { return log.registrations.size() == 2; }));
  learner_->Shutdown();
  v1::RunConfig other = TinyConfig();
  other.mutable_lora()->set_rank(8);
  learner_ = std::make_unique<ScriptedLearner>(other);
  learner_->Start(endpoint);
  EXPECT_TRUE(absl::IsFailedPrecondition(Join()));
}

}  // namespace
}  // namespace flowawr
