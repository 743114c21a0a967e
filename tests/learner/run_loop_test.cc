// A run loop without a model: the engine answers as the test says, and the test is its actor. Whole runs are tested in
// tests/system.
#include "learner/run_loop.h"

#include <ATen/ops/full.h>
#include <ATen/ops/zeros_like.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <future>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/notification.h"
#include "common/base/file.h"
#include "common/config/run_status.h"
#include "learner/checkpoint.h"
#include "tests/learner/scripted_run.h"
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
  RunLoopTest() {
    config_.set_run_dir(folder_ / "run");
    config_.mutable_model()->set_path("models/tiny-sd3");
    config_.mutable_rollout()->set_groups_per_batch(2);
    config_.mutable_rollout()->set_samples_per_group(2);
    config_.mutable_algorithm()->set_behaviour(v1::CURRENT);
    config_.mutable_algorithm()->set_updates_per_batch(1);
    config_.mutable_train()->set_updates(2);
    config_.mutable_optimizer()->set_learning_rate(0.001);
    config_.mutable_checkpoint()->set_every_updates(1);
    config_.mutable_checkpoint()->set_keep(2);
    options_ = SmallDeskOptions();
    options_.clock = &clock_;
    Reopen();
  }

  // As a learner that starts again.
  void Reopen(const v1::CheckpointManifest& manifest = {}) {
    options_.next_group = manifest.next_group();
    options_.consumed_groups = {manifest.consumed_groups().begin(), manifest.consumed_groups().end()};
    PolicyShelf::Options shelf;
    if (manifest.next_version() > 0) shelf.next_version = manifest.next_version();
    shelf.make = [this](const LoraAdapter& adapter, v1::PolicyRole role, uint64_t update) {
      if (during_publish_) during_publish_(role);
      return MakeStoredPolicy(adapter, role, update);
    };
    desk_ = std::make_unique<SmallDesk>(options_, shelf);
    desk_->leases.Register("a", /*has_model=*/true);
    desk_->leases.Register("b", /*has_model=*/true);
  }

  RunLoop::Parts Parts(ScriptedEngine::Script script = ScriptedEngine::Teach) {
    v1::CheckpointManifest manifest;
    manifest.set_run_id("run-1");
    manifest.set_next_version(1);
    *manifest.mutable_reward_spec() = SmallLease(0).reward_spec();
    manifest.mutable_reward_spec()->mutable_terms(0)->set_max_drop(max_drop_);
    auto engine = std::make_unique<ScriptedEngine>(std::move(script));
    engine_ = engine.get();
    return {.config = config_,
            .train_prompts = PromptSet::Load(folder_.Write("prompts.txt", "a sign\nanother\n")).value(),
            .heldout_prompts = heldout_,
            .roles = PolicyRoles::StartFrom(SmallAdapter(1)),
            .manifest = std::move(manifest),
            .algorithm = std::make_shared<ScriptedAlgorithm>(),
            .engine = std::move(engine),
            .directory = directory_.get(),
            .leases = &desk_->leases,
            .policies = &desk_->policies,
            .board = &desk_->board,
            .clock = &clock_};
  }

  // Of the newest checkpoint, with a desk of its own.
  RunLoop::Parts ResumedParts() {
    const FoundCheckpoint found = FindCheckpoint(folder_ / "run").value().value();
    Reopen(found.manifest);
    RunLoop::Parts parts = Parts();
    parts.roles = LoadCheckpoint(found, SmallLayout()).value();
    parts.manifest = found.manifest;
    parts.watch = ReadNote(found, RunLoop::kWatchNote);
    return parts;
  }

  v1::Lease Acquire(const std::string& actor = "a") {
    v1::Lease lease;
    while (lease.samples() == 0) lease = AcquireLease(desk_->leases, actor, absl::Minutes(1)).value().lease();
    return lease;
  }
  // As an actor. The first sample's reward is 0, the other's `reward`.
  void MakeGroups(int count, double reward = .5) {
    for (int i = 0; i < count; ++i) {
      const v1::Lease lease = Acquire();
      SmallGroup group =
          MakeSmallGroup(lease, desk_->policies.Find(lease.policy_version())->header.policy(), "a");
      group.header.mutable_samples(1)->mutable_terms(0)->set_reward(reward);
      ASSERT_TRUE(desk_->leases.CheckSubmission(group.header).ok());
      ASSERT_TRUE(desk_->leases.Accept(group.header, group.blob).ok());
    }
  }
  void FailLease() {
    for (const char* actor : {"a", "b"}) {
      const v1::Lease lease = Acquire(actor);
      v1::FailLeaseRequest request;
      request.set_actor_id(actor);
      request.mutable_lease()->set_group_id(lease.group_id());
      request.mutable_lease()->set_attempt(lease.attempt());
      request.set_cause("reward_failed");
      ASSERT_TRUE(desk_->leases.Fail(request).ok());
    }
  }

  // One held-out prompt, evaluated before the first update and after each.
  void HoldOut() {
    heldout_ = PromptSet::Load(folder_.Write("heldout.txt", "a third\n")).value();
    config_.mutable_evaluation()->set_every_updates(1);
    config_.mutable_evaluation()->set_samples_per_prompt(2);
  }

  static std::future<absl::Status> Start(RunLoop& loop) {
    return std::async(std::launch::async, [&loop] { return loop.Run(); });
  }
  v1::Status status() const { return desk_->board.status(); }
  v1::Status AwaitStatusThat(absl::FunctionRef<bool(const v1::Status&)> holds) {
    uint64_t seen = 0;
    while (true) {
      const v1::Status now = AwaitStatus(desk_->board, &seen, absl::Minutes(1));
      if (holds(now)) return now;
    }
  }
  // Until an evaluation after that update can be made: its leases go first from then on.
  void AwaitEvaluation(uint64_t update, v1::RunPhase phase = v1::RUNNING) {
    AwaitStatusThat([=](const v1::Status& status) {
      return status.update() == update && status.phase() == phase && status.evaluation_groups_total() > 0;
    });
  }
  v1::Status AwaitPhase(v1::RunPhase phase) {
    return AwaitStatusThat([phase](const v1::Status& status) { return status.phase() == phase; });
  }

  v1::CheckpointManifest Saved() {
    const auto found = FindCheckpoint(folder_ / "run");
    EXPECT_TRUE(found.ok()) << found.status();
    return found.ok() && *found ? (*found)->manifest : v1::CheckpointManifest();
  }
  std::vector<nlohmann::json> Lines() {
    std::vector<nlohmann::json> lines;
    const std::string text = ReadFile(folder_ / "run/metrics.jsonl").value();
    for (absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty()))
      lines.push_back(nlohmann::json::parse(line));
    return lines;
  }

  const TempFolder folder_;
  ManualClock clock_;
  v1::RunConfig config_;
  PromptSet heldout_;
  double max_drop_ = 0;  // of the reward
  LeaseDesk::Options options_;
  std::function<void(v1::PolicyRole)> during_publish_;
  std::unique_ptr<RunDirectory> directory_ = RunDirectory::Open(folder_ / "run").value();
  std::unique_ptr<SmallDesk> desk_;
  const ScriptedEngine* engine_ = nullptr;  // of the newest Parts()
};

// ---- the order of things

TEST_F(RunLoopTest, WritesNothingBeforeItRunsAndThenUpdateAfterUpdate) {
  RunLoop loop(Parts());
  EXPECT_FALSE(std::filesystem::exists(folder_ / "run/events"));
  auto run = Start(loop);
  MakeGroups(4);
  const absl::Status ended = run.get();
  EXPECT_TRUE(ended.ok()) << ended;
  EXPECT_THAT(engine_->asked(), ElementsAre("1: 0 1", "2: 2 3"));
  EXPECT_EQ(status().phase(), v1::FINISHED);
  EXPECT_EQ(status().update(), 2u);
  EXPECT_TRUE(loop.is_finished());
  EXPECT_TRUE(std::filesystem::exists(folder_ / "run/events"));
  EXPECT_TRUE(std::filesystem::exists(folder_ / "run/checkpoints/update-000002"));
  EXPECT_TRUE(IsFinished(Saved()));
}

TEST_F(RunLoopTest, OffersLeasesAsTheAlgorithmSamples) {
  RunLoop loop(Parts());
  auto run = Start(loop);
  const v1::Lease lease = Acquire();
  EXPECT_EQ(lease.sampler().steps(), 3);  // of ScriptedAlgorithm
  EXPECT_EQ(lease.policy_version(), 1u);
  loop.RequestStop();
  EXPECT_TRUE(run.get().ok());
}

TEST_F(RunLoopTest, TellsWhatAnUpdateGaveToStatusAndHistory) {
  config_.mutable_train()->set_updates(1);
  RunLoop loop(Parts());
  auto run = Start(loop);
  MakeGroups(2);
  ASSERT_TRUE(run.get().ok());
  EXPECT_EQ(status().loss(), .5);
  EXPECT_EQ(status().kl(), .1);
  EXPECT_EQ(status().figures().at("policy_loss"), .4);
  EXPECT_EQ(status().reward_mean(), .25);
  EXPECT_EQ(status().samples_trained(), 4u);
  ASSERT_EQ(Lines().size(), 1u);
  const nlohmann::json line = Lines()[0];
  EXPECT_EQ(line["update"], 1);
  EXPECT_EQ(line["loss"], .5);
  EXPECT_EQ(line["kl"], .1);
  EXPECT_EQ(line["reward_mean"], .25);
  EXPECT_EQ(line["skipped"], false);
  for (const char* stage : {"wait", "energy", "train", "step", "publish"}) EXPECT_TRUE(line["seconds"].contains(stage));
}

TEST_F(RunLoopTest, SkipsAnUpdateWhoseBatchTeachesNothing) {
  RunLoop loop(Parts([](const GradientRequest& request) -> absl::StatusOr<BatchGradient> {
    if (request.update == 2) return ScriptedEngine::Teach(request);
    BatchGradient nothing;
    nothing.gradient = at::zeros_like(request.current.flat());
    return nothing;
  }));
  auto run = Start(loop);
  MakeGroups(2);
  AwaitStatusThat([](const v1::Status& status) { return status.update() == 1; });
  EXPECT_EQ(Acquire().policy_version(), 1u) << "no policy was made";
  EXPECT_FALSE(status().has_loss());
  EXPECT_EQ(status().updates_skipped(), 1u);
  EXPECT_EQ(status().samples_trained(), 0u);
  EXPECT_EQ(desk_->policies.next_version(), 2u);
  loop.RequestStop();
  ASSERT_TRUE(run.get().ok());
  EXPECT_EQ(Lines()[0]["skipped"], true);
  EXPECT_TRUE(Lines()[0]["loss"].is_null());
  EXPECT_EQ(Saved().updates_skipped(), 1u);
}

TEST_F(RunLoopTest, EndsAtTheTargetRewardAndSoSaysItsCheckpointWhateverTheLastEvaluationGives) {
  HoldOut();
  config_.mutable_train()->set_updates(100);
  config_.mutable_train()->set_target_reward(.4);
  RunLoop loop(Parts());
  auto run = Start(loop);
  AwaitEvaluation(0, v1::EVALUATING_BASE);
  MakeGroups(1, .2);
  MakeGroups(2);
  AwaitEvaluation(1);
  MakeGroups(1, .7);  // half of it, as the other sample's is 0
  MakeGroups(2);
  AwaitEvaluation(2);
  MakeGroups(1, .9);
  AwaitEvaluation(2, v1::EVALUATING_FINAL);
  MakeGroups(1, .6);
  const absl::Status ended = run.get();
  EXPECT_TRUE(ended.ok()) << ended;
  EXPECT_EQ(status().phase(), v1::FINISHED);
  EXPECT_EQ(Saved().update(), 2u);
  EXPECT_LT(Saved().latest().reward_mean(), .4);
  EXPECT_TRUE(IsFinished(Saved()));
  EXPECT_THAT(Saved().end_reason(), HasSubstr("the held-out reward was 0.45 at update 2, and train.target_reward is 0.4"));
  EXPECT_THAT(status().message(), HasSubstr("ended early"));
}

// ---- several optimiser steps a batch

TEST_F(RunLoopTest, EachStepOfABatchTrainsOnSamplesOfItsOwnFromWhereTheOneBeforeLed) {
  config_.mutable_train()->set_updates(1);
  config_.mutable_algorithm()->set_updates_per_batch(2);
  std::vector<std::vector<std::vector<int64_t>>> samples;
  std::vector<at::Tensor> currents;
  std::vector<bool> is_old_another;
  RunLoop loop(Parts([&](const GradientRequest& request) {
    samples.push_back(request.samples);
    currents.push_back(request.current.flat().clone());
    is_old_another.push_back(request.old_adapter(1) != nullptr);
    return ScriptedEngine::Teach(request);
  }));
  auto run = Start(loop);
  MakeGroups(2);
  ASSERT_TRUE(run.get().ok());
  ASSERT_EQ(samples.size(), 2u);
  for (size_t group = 0; group < 2; ++group) {
    std::vector<int64_t> both = samples[0][group];
    both.insert(both.end(), samples[1][group].begin(), samples[1][group].end());
    EXPECT_THAT(both, testing::UnorderedElementsAre(0, 1));
  }
  EXPECT_EQ(samples[0][0].size() + samples[0][1].size(), 2u);
  EXPECT_FALSE(currents[0].equal(currents[1]));
  EXPECT_THAT(is_old_another, ElementsAre(false, true));
  EXPECT_EQ(desk_->policies.next_version(), 3u) << "one policy of both steps";
  EXPECT_EQ(LoadCheckpoint(FindCheckpoint(folder_ / "run")->value(), SmallLayout())->optimizer.steps, 2u);
  EXPECT_EQ(status().loss(), .5);
}

// ---- groups that are not those of their policy

TEST_F(RunLoopTest, AGroupWhoseLogProbabilitiesAreNotFoundAgainIsDroppedAndCounted) {
  config_.mutable_train()->set_updates(1);
  RunLoop::Parts parts = Parts();
  auto algorithm = std::make_shared<ScriptedAlgorithm>();
  algorithm->max_log_prob_drift = .01;
  parts.algorithm = algorithm;
  static_cast<ScriptedEngine&>(*parts.engine).drifts = {.5, .002};
  RunLoop loop(std::move(parts));
  auto run = Start(loop);
  MakeGroups(2);
  ASSERT_TRUE(run.get().ok());
  EXPECT_THAT(engine_->asked(), ElementsAre("1: 1"));
  EXPECT_EQ(status().dropped().at("log_prob_drift"), 1u);
  EXPECT_EQ(status().figures().at("log_prob_drift_greatest"), .5);
  EXPECT_DOUBLE_EQ(status().figures().at("log_prob_drift_mean"), .251);
}

TEST_F(RunLoopTest, ABatchOfWhichNoLogProbabilityIsFoundAgainEndsTheRun) {
  RunLoop::Parts parts = Parts();
  auto algorithm = std::make_shared<ScriptedAlgorithm>();
  algorithm->max_log_prob_drift = .01;
  parts.algorithm = algorithm;
  static_cast<ScriptedEngine&>(*parts.engine).drifts = {.5, std::nan("")};
  RunLoop loop(std::move(parts));
  auto run = Start(loop);
  MakeGroups(2);
  const absl::Status ended = run.get();
  EXPECT_EQ(ended.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(ended.message()), HasSubstr("max_log_prob_drift"));
}

// ---- gradients that come to nothing

TEST_F(RunLoopTest, ARefusedUpdateIsKeptAndTheRunGoesOnWhereItMay) {
  config_.mutable_train()->set_on_bad_update(v1::SKIP);
  config_.mutable_train()->set_max_loss(.4);
  at::Tensor second;
  RunLoop loop(Parts([&](const GradientRequest& request) {
    absl::StatusOr<BatchGradient> gradient = ScriptedEngine::Teach(request);
    if (request.update == 2) gradient->loss = .3, second = request.current.flat().clone();
    return gradient;
  }));
  auto run = Start(loop);
  MakeGroups(2);
  AwaitStatusThat([](const v1::Status& status) { return status.update() == 1; });
  MakeGroups(2);
  const absl::Status ended = run.get();
  ASSERT_TRUE(ended.ok()) << ended;
  EXPECT_EQ(status().update(), 2u);
  EXPECT_EQ(status().updates_skipped(), 1u);
  EXPECT_TRUE(second.equal(SmallAdapter(1).flat())) << "nothing was made of the first";
  EXPECT_THAT(Lines()[0]["refused"].get<std::string>(),
              AllOf(HasSubstr("the loss of update 1 is 0.5, above train.max_loss 0.4"), HasSubstr("update-1.json")));
  EXPECT_FALSE(Lines()[1].contains("refused"));
  EXPECT_TRUE(std::filesystem::exists(folder_ / "run/bad_batches/update-1.safetensors"));
}

TEST_F(RunLoopTest, AnUpdateRefusedAtItsSecondStepLeavesThePolicyAsItWas) {
  config_.mutable_train()->set_on_bad_update(v1::SKIP);
  config_.mutable_algorithm()->set_updates_per_batch(2);
  std::vector<at::Tensor> currents;
  RunLoop loop(Parts([&](const GradientRequest& request) {
    currents.push_back(request.current.flat().clone());
    absl::StatusOr<BatchGradient> gradient = ScriptedEngine::Teach(request);
    if (currents.size() == 2) gradient->loss = std::nan("");
    return gradient;
  }));
  auto run = Start(loop);
  MakeGroups(4);
  ASSERT_TRUE(run.get().ok());
  ASSERT_EQ(currents.size(), 4u);
  EXPECT_FALSE(currents[1].equal(currents[0]));
  EXPECT_TRUE(currents[2].equal(currents[0]));
}

TEST_F(RunLoopTest, AnUpdateThatIsNotFiniteEndsTheRunAndItsGroupsAreCounted) {
  config_.mutable_train()->set_updates(1);
  RunLoop loop(Parts([](const GradientRequest& request) {
    absl::StatusOr<BatchGradient> gradient = ScriptedEngine::Teach(request);
    gradient->not_finite = {0, 1};
    return gradient;
  }));
  auto run = Start(loop);
  MakeGroups(2);
  const absl::Status ended = run.get();
  EXPECT_EQ(ended.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(ended.message()),
              AllOf(HasSubstr("loss or gradient of update 1 is not finite"), HasSubstr("every group")));
  EXPECT_THAT(desk_->leases.dropped(), ElementsAre(Pair("not_finite_gradient", 2)));
  EXPECT_EQ(status().update(), 0u);
  EXPECT_EQ(status().phase(), v1::FAILED);
  EXPECT_EQ(desk_->policies.next_version(), 2u) << "nothing was made of it";
}

TEST_F(RunLoopTest, AnErrorOfTheEngineEndsTheRunWithTheUpdatesDone) {
  RunLoop loop(Parts([](const GradientRequest& request) -> absl::StatusOr<BatchGradient> {
    if (request.update == 1) return ScriptedEngine::Teach(request);
    return absl::InternalError("out of memory");
  }));
  auto run = Start(loop);
  MakeGroups(4);
  EXPECT_EQ(run.get(), absl::InternalError("out of memory"));
  EXPECT_EQ(status().phase(), v1::FAILED);
  EXPECT_EQ(Saved().update(), 1u);
  EXPECT_FALSE(IsFinished(Saved()));
}

TEST_F(RunLoopTest, AStopInTheMiddleOfAGradientEndsWithTheUpdatesDone) {
  absl::Notification is_computing;
  RunLoop loop(Parts([&](const GradientRequest& request) -> absl::StatusOr<BatchGradient> {
    if (request.update == 1) return ScriptedEngine::Teach(request);
    is_computing.Notify();
    while (!request.is_cancelled) std::this_thread::yield();
    return absl::CancelledError("stopped");
  }));
  auto run = Start(loop);
  MakeGroups(4);
  is_computing.WaitForNotification();
  loop.RequestStop();
  const absl::Status ended = run.get();
  EXPECT_TRUE(ended.ok()) << ended;
  EXPECT_NE(status().phase(), v1::FAILED);
  EXPECT_FALSE(loop.is_finished());
  EXPECT_EQ(Saved().update(), 1u);
  EXPECT_EQ(Saved().next_group(), 2u) << "the batch is to be made again";
}

// ---- stops and what they keep

TEST_F(RunLoopTest, AStopDuringTheFirstUpdateKeepsTheEvaluationOfTheBase) {
  HoldOut();
  RunLoop loop(Parts());
  auto run = Start(loop);
  MakeGroups(1);
  AwaitPhase(v1::RUNNING);
  loop.RequestStop();
  const absl::Status ended = run.get();
  EXPECT_TRUE(ended.ok()) << ended;
  EXPECT_TRUE(Saved().has_base());
  EXPECT_EQ(Saved().update(), 0u);
}

TEST_F(RunLoopTest, AStopAfterAnEvaluationKeepsItThoughItsUpdateWasSavedBefore) {
  HoldOut();
  RunLoop loop(Parts());
  auto run = Start(loop);
  MakeGroups(3);
  AwaitEvaluation(1);
  MakeGroups(1);
  AwaitStatusThat([](const v1::Status& status) { return status.latest().update() == 1; });
  loop.RequestStop();
  const absl::Status ended = run.get();
  EXPECT_TRUE(ended.ok()) << ended;
  EXPECT_EQ(Saved().update(), 1u);
  EXPECT_EQ(Saved().latest().update(), 1u);
}

TEST_F(RunLoopTest, ARunThatIsStoppedBeforeAnythingWasMadeCanBeResumed) {
  RunLoop loop(Parts());
  loop.RequestStop();
  EXPECT_TRUE(loop.Run().ok());
  EXPECT_EQ(Saved().run_id(), "run-1");
}

TEST_F(RunLoopTest, AResumedRunGoesOnWithTheNextGroupsAndItsCounts) {
  config_.mutable_checkpoint()->set_every_updates(100);
  {
    RunLoop loop(Parts());
    auto run = Start(loop);
    MakeGroups(2);
    AwaitStatusThat([](const v1::Status& status) { return status.update() == 1; });
    desk_->leases.CountDrop("too_large");
    clock_.Advance(absl::Seconds(30));
    loop.RequestStop();
    ASSERT_TRUE(run.get().ok());
  }
  EXPECT_FALSE(IsFinished(Saved()));
  RunLoop loop(ResumedParts());
  EXPECT_EQ(status().update(), 1u);
  EXPECT_EQ(status().groups_accepted(), 2u);
  EXPECT_EQ(status().samples_accepted(), 4u);
  EXPECT_EQ(status().dropped().at("too_large"), 1u);
  EXPECT_EQ(status().elapsed_s(), 30);
  auto run = Start(loop);
  MakeGroups(2);
  ASSERT_TRUE(run.get().ok());
  EXPECT_THAT(engine_->asked(), ElementsAre("2: 2 3"));
  EXPECT_EQ(status().groups_accepted(), 4u);
  EXPECT_EQ(Saved().dropped().at("too_large"), 1u);
  EXPECT_EQ(Saved().elapsed_s(), 30);
  EXPECT_TRUE(IsFinished(Saved()));
}

TEST_F(RunLoopTest, ARunThatHadFinishedAndIsGivenMoreUpdatesIsNotFinished) {
  config_.mutable_train()->set_updates(1);
  {
    RunLoop loop(Parts());
    auto run = Start(loop);
    MakeGroups(2);
    ASSERT_TRUE(run.get().ok());
  }
  ASSERT_TRUE(IsFinished(Saved()));
  config_.mutable_train()->set_updates(2);
  RunLoop loop(ResumedParts());
  ASSERT_TRUE(loop.Checkpoint().ok());
  EXPECT_FALSE(IsFinished(Saved()));
}

// ---- what holds a run

TEST_F(RunLoopTest, APausedRunGrantsNothingAndItsTimeStandsStillUntilItIsResumed) {
  config_.mutable_checkpoint()->set_every_updates(100);
  RunLoop loop(Parts());
  auto run = Start(loop);
  MakeGroups(2);
  AwaitStatusThat([](const v1::Status& status) { return status.update() == 1; });
  clock_.Advance(absl::Seconds(1));
  loop.SetPaused(true);
  EXPECT_EQ(status().phase(), v1::PAUSED);
  EXPECT_EQ(status().pause_cause(), "operator");
  EXPECT_FALSE(AcquireLease(desk_->leases, "a", absl::ZeroDuration())->has_lease());
  // Until the loop waits: what it does after the request is its time still.
  for (double before = -1, now = 0; now != before;) {
    before = now;
    clock_.Advance(absl::Seconds(1));
    ASSERT_TRUE(loop.Checkpoint().ok());
    now = Saved().elapsed_s();
  }
  clock_.Advance(absl::Hours(10));
  loop.SetPaused(false);
  MakeGroups(2);
  ASSERT_TRUE(run.get().ok());
  EXPECT_EQ(Saved().update(), 2u);
  EXPECT_LT(Saved().elapsed_s(), 60 * 60);
}

TEST_F(RunLoopTest, AWriteThatFailsHoldsTheRunUntilSomebodyResumesIt) {
  std::filesystem::create_directory(folder_ / "run/metrics.jsonl");  // so that no line can be added
  RunLoop loop(Parts());
  auto run = Start(loop);
  MakeGroups(2);
  const v1::Status held = AwaitPhase(v1::PAUSED);
  EXPECT_EQ(held.pause_cause(), "disk");
  EXPECT_THAT(held.message(), AllOf(HasSubstr("metrics.jsonl could not be written"), HasSubstr("resume the run")));
  loop.SetPaused(false);
  AwaitStatusThat([](const v1::Status& status) { return status.phase() == v1::PAUSED; });  // as it fails again
  std::filesystem::remove(folder_ / "run/metrics.jsonl");
  loop.SetPaused(false);
  MakeGroups(2);
  const absl::Status ended = run.get();
  EXPECT_TRUE(ended.ok()) << ended;
  EXPECT_EQ(Lines().size(), 2u) << "no line is lost";
}

TEST_F(RunLoopTest, LeasesThatRunOutOfAttemptsHoldTheRunUntilSomebodyResumesIt) {
  RunLoop loop(Parts());
  auto run = Start(loop);
  FailLease();
  const v1::Status held = AwaitPhase(v1::PAUSED);
  EXPECT_EQ(held.pause_cause(), "attempts");
  EXPECT_THAT(held.message(), HasSubstr("reward_failed"));
  loop.SetPaused(false);
  MakeGroups(4);
  const absl::Status ended = run.get();
  EXPECT_TRUE(ended.ok()) << ended;
  EXPECT_THAT(engine_->asked(), ElementsAre("1: 0 1", "2: 2 3"));
}

TEST_F(RunLoopTest, LeasesThatRunOutOfAttemptsHoldAnEvaluationAsWell) {
  HoldOut();
  RunLoop loop(Parts());
  auto run = Start(loop);
  FailLease();
  EXPECT_EQ(AwaitPhase(v1::PAUSED).pause_cause(), "attempts");
  loop.RequestStop();
  EXPECT_TRUE(run.get().ok());
  EXPECT_FALSE(Saved().has_base());
}

// ---- watched rewards

class WatchedRewardTest : public RunLoopTest {
 protected:
  WatchedRewardTest() {
    HoldOut();
    max_drop_ = .1;
    config_.mutable_train()->set_updates(4);
  }
  // The base's mean is .25; then one update and an evaluation of that mean.
  void EvaluateBase() {
    AwaitEvaluation(0, v1::EVALUATING_BASE);
    MakeGroups(1, .5);
  }
  void UpdateTo(uint64_t update, double mean) {
    MakeGroups(2);
    AwaitEvaluation(update);
    MakeGroups(1, 2 * mean);
  }
};

TEST_F(WatchedRewardTest, AFallHoldsTheRunUntilSomebodyResumesItAndAgainWhenItFallsAsFarOnceMore) {
  RunLoop loop(Parts());
  auto run = Start(loop);
  EvaluateBase();
  UpdateTo(1, .16);
  UpdateTo(2, .1);
  const v1::Status held = AwaitPhase(v1::PAUSED);
  EXPECT_EQ(held.pause_cause(), "reward");
  EXPECT_THAT(held.message(), AllOf(HasSubstr("from 0.25 to 0.1 by update 2"), HasSubstr("max_drop of 0.1"),
                                    HasSubstr("images/latest"), HasSubstr("flowawr resume")));
  EXPECT_EQ(Saved().update(), 2u) << "nothing is lost while people think";
  loop.SetPaused(false);
  UpdateTo(3, .05);
  MakeGroups(2);
  AwaitEvaluation(4, v1::EVALUATING_FINAL);
  MakeGroups(1, 0);
  ASSERT_TRUE(run.get().ok());
  EXPECT_EQ(status().phase(), v1::FINISHED);
}

TEST_F(WatchedRewardTest, AProcessThatIsStartedAgainHoldsTheRunAsWell) {
  {
    RunLoop loop(Parts());
    auto run = Start(loop);
    EvaluateBase();
    UpdateTo(1, .1);
    AwaitPhase(v1::PAUSED);
    loop.RequestStop();
    ASSERT_TRUE(run.get().ok());
  }
  RunLoop loop(ResumedParts());
  auto run = Start(loop);
  EXPECT_EQ(AwaitPhase(v1::PAUSED).pause_cause(), "reward");
  loop.RequestStop();
  ASSERT_TRUE(run.get().ok());
}

TEST_F(WatchedRewardTest, AFallThatSomebodyAcceptedHoldsNoProcessThatIsStartedAgain) {
  {
    RunLoop loop(Parts());
    auto run = Start(loop);
    EvaluateBase();
    UpdateTo(1, .1);
    AwaitPhase(v1::PAUSED);
    EXPECT_THAT(Saved().end_reason(), HasSubstr("it was paused, as the held-out reward")) << "should it be killed now";
    loop.SetPaused(false);
    MakeGroups(1);
    loop.RequestStop();
    ASSERT_TRUE(run.get().ok());
    EXPECT_EQ(Saved().end_reason(), "");
  }
  RunLoop loop(ResumedParts());
  auto run = Start(loop);
  UpdateTo(2, .05);  // held back by nothing
  UpdateTo(3, -.05);
  EXPECT_THAT(AwaitPhase(v1::PAUSED).message(), HasSubstr("from 0.1 to -0.05 by update 3"));
  loop.RequestStop();
  ASSERT_TRUE(run.get().ok());
}

TEST_F(WatchedRewardTest, EndsTheRunWhereItIsToldToAndSaysWhy) {
  config_.mutable_evaluation()->set_on_drop(v1::FINISH);
  {
    RunLoop loop(Parts());
    auto run = Start(loop);
    EvaluateBase();
    UpdateTo(1, .1);
    AwaitEvaluation(1, v1::EVALUATING_FINAL);
    MakeGroups(1, .2);
    ASSERT_TRUE(run.get().ok());
    EXPECT_EQ(Saved().update(), 1u);
    EXPECT_TRUE(IsFinished(Saved()));
    const auto says_why = HasSubstr("fell from 0.25 to 0.1 by update 1");
    EXPECT_THAT(Saved().end_reason(), says_why);
    EXPECT_THAT(status().message(), says_why);
    EXPECT_THAT(Lines().back()["reason"].get<std::string>(), says_why);
  }
  RunLoop again(ResumedParts());  // which is to go on
  EXPECT_TRUE(again.Checkpoint().ok());
  EXPECT_EQ(Saved().end_reason(), "");
}

TEST_F(WatchedRewardTest, AFallAfterTheLastUpdateIsAWarning) {
  config_.mutable_train()->set_updates(1);
  config_.mutable_evaluation()->set_every_updates(0);
  RunLoop loop(Parts());
  auto run = Start(loop);
  EvaluateBase();
  MakeGroups(2);
  AwaitEvaluation(1, v1::EVALUATING_FINAL);
  MakeGroups(1, .2);
  ASSERT_TRUE(run.get().ok());
  EXPECT_EQ(status().phase(), v1::FINISHED);
  EXPECT_THAT(status().warnings(), testing::Contains(HasSubstr("fell from 0.25 to 0.1 by update 1")));
  EXPECT_THAT(Lines().back()["warnings"], testing::SizeIs(1));
  EXPECT_EQ(Lines().back()["reason"], "");
}

// Of two prompts the second is the harder one. An evaluation of the first alone is no gain, and none of both no fall.
TEST_F(WatchedRewardTest, ComparesEvaluationsOfDifferentLengthOverTheSamePrompts) {
  heldout_ = PromptSet::Load(folder_.Write("heldout.txt", "easy\nhard\n")).value();
  config_.mutable_evaluation()->set_prompts(1);
  config_.mutable_train()->set_updates(2);
  RunLoop loop(Parts());
  auto run = Start(loop);
  AwaitEvaluation(0, v1::EVALUATING_BASE);
  MakeGroups(1, 1);
  MakeGroups(1, .2);
  UpdateTo(1, .35);  // above the base's mean of both, .3, and far below its .5 of this one
  EXPECT_THAT(AwaitPhase(v1::PAUSED).message(), HasSubstr("from 0.5 to 0.35 by update 1"));
  loop.RequestStop();
  ASSERT_TRUE(run.get().ok());
}

TEST_F(WatchedRewardTest, APauseOnRequestLeavesTheReasonOfTheOneThatIsOn) {
  RunLoop loop(Parts());
  auto run = Start(loop);
  EvaluateBase();
  UpdateTo(1, .1);
  const v1::Status held = AwaitPhase(v1::PAUSED);
  loop.SetPaused(true);
  EXPECT_EQ(status().pause_cause(), "reward");
  EXPECT_EQ(status().message(), held.message());
  loop.RequestStop();
  ASSERT_TRUE(run.get().ok());
}

TEST_F(RunLoopTest, RefusesToWatchWhatNobodyEvaluates) {
  RunLoop loop(Parts());
  v1::RewardSpecTerm term = SmallLease(0).reward_spec().terms(0);
  term.set_weight(1);
  term.set_timeout_s(1);
  term.set_max_drop(.5);
  const absl::Status refused = loop.SetRewardSpec({term}).status();
  EXPECT_TRUE(absl::IsInvalidArgument(refused)) << refused;
  EXPECT_THAT(refused.message(), HasSubstr("prompts.heldout"));
}

TEST_F(WatchedRewardTest, WarnsAsLongAsTheRewardIsDownAndGoesOn) {
  config_.mutable_evaluation()->set_on_drop(v1::WARN);
  RunLoop loop(Parts());
  auto run = Start(loop);
  EvaluateBase();
  UpdateTo(1, .1);
  MakeGroups(2);
  AwaitStatusThat([](const v1::Status& status) { return status.update() == 2; });
  AwaitEvaluation(2);
  EXPECT_THAT(status().warnings(), testing::Contains(HasSubstr("fell from 0.25 to 0.1 by update 1")));
  MakeGroups(1, .5);
  MakeGroups(2);
  AwaitEvaluation(3);
  EXPECT_THAT(status().warnings(), testing::Not(testing::Contains(HasSubstr("fell from"))));
  loop.RequestStop();
  ASSERT_TRUE(run.get().ok());
}

// ---- publishing

// An adapter is serialised and hashed in some 100 ms: meanwhile whoever calls is answered. Were a lock held that one of
// these calls needs, it would not return before the adapter is published.
TEST_F(RunLoopTest, HoldsNoLockThatACallNeedsWhileItPublishes) {
  HoldOut();
  config_.mutable_train()->set_updates(1);
  RunLoop loop(Parts());
  std::vector<v1::PolicyRole> published;
  std::vector<std::future<void>> calls;
  during_publish_ = [&](v1::PolicyRole role) {
    published.push_back(role);
    calls.push_back(std::async(std::launch::async, [&] {
      EXPECT_TRUE(AcquireLease(desk_->leases, "b", absl::ZeroDuration()).ok());
      v1::RenewLeasesRequest heartbeat;
      heartbeat.set_actor_id("b");
      EXPECT_TRUE(desk_->leases.Renew(heartbeat).ok());
      desk_->policies.Find(1);
      status();
      loop.SetPaused(true);
      loop.SetPaused(false);
      EXPECT_TRUE(loop.Checkpoint().ok());
      EXPECT_TRUE(loop.Export(v1::AVERAGE_POLICY, "meanwhile").ok());
    }));
    EXPECT_EQ(calls.back().wait_for(std::chrono::minutes(1)), std::future_status::ready);
  };
  auto run = Start(loop);
  while (!loop.is_finished()) {
    const auto answer = AcquireLease(desk_->leases, "a", absl::Milliseconds(1));
    if (!answer.ok() || !answer->has_lease()) {
      if (run.wait_for(std::chrono::seconds(0)) == std::future_status::ready) break;
      continue;
    }
    const v1::Lease& lease = answer->lease();
    const SmallGroup group =
        MakeSmallGroup(lease, desk_->policies.Find(lease.policy_version())->header.policy(), "a");
    ASSERT_TRUE(desk_->leases.Accept(group.header, group.blob).ok());
  }
  const absl::Status ended = run.get();
  EXPECT_TRUE(ended.ok()) << ended;
  EXPECT_THAT(published, ElementsAre(v1::AVERAGE_POLICY, v1::BEHAVIOUR_POLICY, v1::BEHAVIOUR_POLICY,
                                     v1::AVERAGE_POLICY));
}

// ---- other rewards

TEST_F(RunLoopTest, RewardsThatWereRefusedAreInNoCheckpoint) {
  RunLoop loop(Parts());
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
  RunLoop loop(Parts());
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
  EXPECT_EQ(status().reward_spec().version(), 1u);
}

TEST_F(RunLoopTest, ASwapTellsTheFirstUpdateThatItCountsForAndAResumedRunTheNext) {
  RunLoop::Parts parts = Parts();
  parts.manifest.set_update(3);
  parts.manifest.mutable_reward_spec()->set_from_update(5);  // two batches were under way
  RunLoop loop(std::move(parts));
  EXPECT_EQ(status().reward_spec().from_update(), 4u);
}

}  // namespace
}  // namespace flowawr
