// A run loop that runs, on the embedded model; the test is its actor. Whole runs are tested in tests/system.
#include "learner/run_loop.h"

#include <ATen/ops/full.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <future>
#include <memory>
#include <string>
#include <utility>

#include "absl/functional/function_ref.h"
#include "common/base/file.h"
#include "common/rpc/blob_stream.h"
#include "common/tensor/safetensors.h"
#include "learner/checkpoint.h"
#include "tests/learner/small_run.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

class RunLoopTest : public testing::Test {
 protected:
  RunLoopTest() : transformer_(Transformer::Load("models/tiny-sd3/transformer", at::kFloat).value()) {
    config_.set_run_dir(folder_ / "run");
    config_.mutable_model()->set_path("models/tiny-sd3");
    config_.mutable_rollout()->set_groups_per_batch(2);
    config_.mutable_rollout()->set_samples_per_group(2);
    config_.mutable_algorithm()->set_advantage_clip(5);
    config_.mutable_algorithm()->set_temperature(1);
    config_.mutable_algorithm()->set_energy_clip(5);
    config_.mutable_train()->set_updates(2);
    config_.mutable_train()->set_timestep_fraction(0.99);
    config_.mutable_train()->set_timesteps_per_sample(1);
    config_.mutable_train()->set_micro_batch(4);
    config_.mutable_train()->set_threads(1);
    config_.mutable_optimizer()->set_learning_rate(0.001);
    config_.mutable_checkpoint()->set_every_updates(1);
    config_.mutable_checkpoint()->set_keep(2);
    const TransformerConfig& model = transformer_->config();
    options_ = SmallDeskOptions();
    options_.shape = {.channels = model.in_channels,
                      .latent_height = 4,
                      .latent_width = 4,
                      .max_tokens = 3,
                      .embed_dim = model.joint_attention_dim,
                      .pooled_dim = model.pooled_projection_dim,
                      .image_height = 16,
                      .image_width = 16};
    desk_ = std::make_unique<Desk>(options_);
  }

  // Every element of the adapter is `value`.
  RunLoop::Parts Parts(float value) {
    const auto layout = transformer_->MakeLoraLayout({"attn.to_q", "attn.to_v"}, 2, 4).value();
    v1::CheckpointManifest manifest;
    manifest.set_run_id("run-1");
    manifest.set_next_version(1);
    *manifest.mutable_reward_spec() = SmallLease(0).reward_spec();
    manifest.mutable_reward_spec()->mutable_terms(0)->set_weight(1);
    return {config_,
            PromptSet::Load(folder_.Write("prompts.txt", "a sign\nanother\n")).value(),
            heldout_,
            PolicyRoles::StartFrom(LoraAdapter(layout, at::full({layout->size()}, value))),
            std::move(manifest),
            std::make_unique<GradientWorkers>(transformer_, config_, std::vector<float>{1, .6f, .3f, 0}),
            directory_.get(),
            desk_.get()};
  }

  // As an actor: makes `count` groups.
  void MakeGroups(int count) {
    desk_->Register("a", /*has_model=*/true);
    for (int i = 0; i < count; ++i) {
      v1::Lease lease;
      while (lease.samples() == 0) lease = AcquireLease(*desk_, "a", absl::Minutes(1)).value().lease();
      SmallGroup group = MakeSmallGroup(lease, desk_->FindPolicy(lease.policy_version())->header.policy(), "a");
      const GroupShape& shape = options_.shape;
      group.blob =
          SerializeSafetensors({{"x0", at::full({2, shape.channels, shape.latent_height, shape.latent_width}, .5f)},
                                {"prompt_embeds", at::full({shape.max_tokens, shape.embed_dim}, .25f)},
                                {"pooled_prompt_embeds", at::full({shape.pooled_dim}, .125f)}})
              .value();
      *group.header.mutable_blob() = MakeBlobHeader(group.blob);
      ASSERT_TRUE(desk_->CheckSubmission(group.header).ok());
      ASSERT_TRUE(desk_->Accept(group.header, group.blob).ok());
    }
  }

  // One held-out prompt, evaluated before the first update and after each.
  void HoldOut() {
    heldout_ = PromptSet::Load(folder_.Write("heldout.txt", "a third\n")).value();
    config_.mutable_evaluation()->set_every_updates(1);
    config_.mutable_evaluation()->set_samples_per_prompt(2);
  }

  void AwaitStatusThat(absl::FunctionRef<bool(const v1::Status&)> holds) {
    uint64_t seen = 0;
    while (!holds(AwaitStatus(*desk_, &seen, absl::Minutes(1)))) {
    }
  }

  v1::CheckpointManifest Saved() {
    const auto found = FindCheckpoint(folder_ / "run");
    EXPECT_TRUE(found.ok()) << found.status();
    return found.ok() && *found ? (*found)->manifest : v1::CheckpointManifest();
  }

  const TempFolder folder_;
  const std::shared_ptr<const Transformer> transformer_;
  v1::RunConfig config_;
  PromptSet heldout_;
  Desk::Options options_;
  std::unique_ptr<RunDirectory> directory_ = RunDirectory::Open(folder_ / "run").value();
  std::unique_ptr<Desk> desk_;
};

TEST_F(RunLoopTest, WritesNothingBeforeItRunsAndThenUpdateAfterUpdate) {
  RunLoop loop(Parts(0.01f));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "run/events"));
  auto run = std::async(std::launch::async, [&loop] { return loop.Run(); });
  MakeGroups(4);
  const absl::Status ended = run.get();
  EXPECT_TRUE(ended.ok()) << ended;
  EXPECT_EQ(desk_->status().update(), 2u);
  EXPECT_TRUE(std::filesystem::exists(folder_ / "run/events"));
  EXPECT_TRUE(std::filesystem::exists(folder_ / "run/checkpoints/update-000002"));
}

TEST_F(RunLoopTest, AnUpdateThatIsNotFiniteEndsTheRunAndItsGroupsAreCounted) {
  config_.mutable_train()->set_updates(1);
  RunLoop loop(Parts(1e25f));
  auto run = std::async(std::launch::async, [&loop] { return loop.Run(); });
  MakeGroups(2);
  const absl::Status ended = run.get();
  EXPECT_EQ(ended.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(ended.message()),
              AllOf(HasSubstr("loss or gradient of update 1 is not finite"), HasSubstr("every group")));
  EXPECT_THAT(desk_->dropped(), ElementsAre(Pair("not_finite_gradient", 2)));
  EXPECT_EQ(desk_->status().update(), 0u);
  EXPECT_EQ(desk_->phase(), v1::FAILED);
}

TEST_F(RunLoopTest, AStopDuringTheFirstUpdateKeepsTheEvaluationOfTheBase) {
  HoldOut();
  RunLoop loop(Parts(0.01f));
  auto run = std::async(std::launch::async, [&loop] { return loop.Run(); });
  MakeGroups(1);
  AwaitStatusThat([](const v1::Status& status) { return status.phase() == v1::RUNNING; });
  loop.RequestStop();
  const absl::Status ended = run.get();
  EXPECT_TRUE(ended.ok()) << ended;
  EXPECT_TRUE(Saved().has_base());
  EXPECT_EQ(Saved().update(), 0u);
}

TEST_F(RunLoopTest, AStopAfterAnEvaluationKeepsItThoughItsUpdateWasSavedBefore) {
  HoldOut();
  RunLoop loop(Parts(0.01f));
  auto run = std::async(std::launch::async, [&loop] { return loop.Run(); });
  MakeGroups(3);
  AwaitStatusThat([](const v1::Status& status) {
    return status.update() == 1 && status.evaluation_groups_total() == 1;
  });
  MakeGroups(1);
  AwaitStatusThat([](const v1::Status& status) { return status.latest().update() == 1; });
  loop.RequestStop();
  const absl::Status ended = run.get();
  EXPECT_TRUE(ended.ok()) << ended;
  EXPECT_EQ(Saved().update(), 1u);
  EXPECT_EQ(Saved().latest().update(), 1u);
}

TEST_F(RunLoopTest, ARunThatIsStoppedBeforeAnythingWasMadeCanBeResumed) {
  RunLoop loop(Parts(0.01f));
  loop.RequestStop();
  EXPECT_TRUE(loop.Run().ok());
  EXPECT_EQ(Saved().run_id(), "run-1");
}

TEST_F(RunLoopTest, RewardsThatWereRefusedAreInNoCheckpoint) {
  RunLoop loop(Parts(0.01f));
  std::filesystem::create_directory(folder_ / "run/metrics.jsonl");  // so that no line can be added
  v1::RewardSpecTerm term;
  term.set_scorer("ocr");
  term.set_weight(2);
  term.set_timeout_s(1);
  const auto swapped = loop.SetRewardSpec({term});
  EXPECT_THAT(std::string(swapped.status().message()), HasSubstr("the rewards were not swapped"));
  EXPECT_EQ(Saved().reward_spec().version(), 1u);
  EXPECT_EQ(Saved().reward_spec().terms(0).weight(), 1);
}

TEST_F(RunLoopTest, RewardsThatDoNotGoTogetherOrDoNotAnswerAreRefusedAndNothingChanges) {
  config_.mutable_rewards()->set_combination(v1::DECOUPLED);
  RunLoop loop(Parts(0.01f));
  v1::RewardSpecTerm ocr, other;
  ocr.set_scorer("ocr");
  ocr.set_weight(1);
  ocr.set_timeout_s(1);
  other = ocr;
  other.set_scorer("other");
  const auto refusal = [&](const std::vector<v1::RewardSpecTerm>& terms) {
    return std::string(loop.SetRewardSpec(terms).status().message());
  };
  other.set_weight(-1);
  EXPECT_THAT(refusal({ocr, other}), HasSubstr("must not be negative with rewards.combination: decoupled"));
  other.set_weight(1);
  EXPECT_THAT(refusal({ocr, other}), HasSubstr("reward other names no reward server"));
  other.set_endpoint("127.0.0.1:1");
  EXPECT_THAT(refusal({ocr, other}), AllOf(HasSubstr("the rewards stay as they are"),
                                           HasSubstr("no reward server answers at 127.0.0.1:1")));
  EXPECT_EQ(desk_->status().reward_spec().version(), 1u);
}

TEST_F(RunLoopTest, ASwapTellsTheFirstUpdateThatItCountsForAndAResumedRunTheNext) {
  RunLoop::Parts parts = Parts(0.01f);
  parts.manifest.set_update(3);
  parts.manifest.mutable_reward_spec()->set_from_update(5);  // two batches were under way
  RunLoop loop(std::move(parts));
  EXPECT_EQ(desk_->status().reward_spec().from_update(), 4u);
}

}  // namespace
}  // namespace flowawr
