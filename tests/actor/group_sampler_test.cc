#include "actor/group_sampler.h"

#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/stack.h>
#include <c10/core/InferenceMode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/status.h"
#include "common/diffusion/noise.h"
#include "common/diffusion/sde_step.h"
#include "common/diffusion/sigmas.h"
#include "common/sd3/guidance.h"
#include "tests/testing/draw_latents.h"

namespace flowawr {
namespace {

constexpr LatentShape kShape = {.channels = 8, .height = 8, .width = 16};

const Pipeline& Model() {
  static const std::unique_ptr<Pipeline> model =
      Pipeline::Load("models/tiny-sd3", {.placement = at::kFloat, .max_sequence_length = 32}).value();
  return *model;
}

std::shared_ptr<const AdoptedPolicy> Policy() {
  static const std::shared_ptr<const AdoptedPolicy> policy = [] {
    const auto layout = Model().transformer().MakeLoraLayout({"attn.to_q"}, 4, 8).value();
    LoraAdapter adapter = LoraAdapter::Initialise(layout, 1);
    adapter.flat().narrow(0, layout->OffsetOfB(0), layout->size() - layout->OffsetOfB(0)).fill_(0.02);
    return std::make_shared<const AdoptedPolicy>(
        AdoptedPolicy{v1::PolicyVersion(), Model().transformer().BindMerged(adapter).value()});
  }();
  return policy;
}

GroupJob MakeJob(uint64_t group, const std::string& prompt, uint32_t samples, int steps = 3) {
  GroupJob job;
  job.lease.set_group_id(group);
  job.lease.set_noise_seed(11);
  job.lease.set_samples(samples);
  job.lease.mutable_sampler()->set_solver(v1::EULER);
  job.lease.mutable_sampler()->set_steps(steps);
  job.embeds = Model().EncodePrompts({prompt}).value();
  job.policy = Policy();
  return job;
}

v1::StochasticSteps Window(v1::SdeKind kind, uint32_t first, uint32_t count) {
  v1::StochasticSteps steps;
  steps.set_kind(kind);
  steps.set_noise_level(0.7);
  steps.set_first(first);
  steps.set_count(count);
  return steps;
}

absl::Status Sample(std::vector<GroupJob*> jobs, absl::FunctionRef<bool()> is_wanted = [] { return true; }) {
  for (GroupJob* job : jobs) FLOWAWR_RETURN_IF_ERROR(DrawNoise(kShape, at::kCPU, *job));
  StepGraphs none(Model().transformer(), 0);
  return SampleGroups(Model(), none, jobs, is_wanted);
}

class GroupSamplerTest : public ::testing::Test {
  const c10::InferenceMode guard_;
};

TEST_F(GroupSamplerTest, FollowsTheSolverFromTheNoiseOfEachSample) {
  GroupJob job = MakeJob(4, "a sign that says \"CAT\"", 2);
  ASSERT_TRUE(Sample({&job}).ok());
  const std::vector<float> sigmas = FlowMatchSigmas(3, Model().scheduler_shift(), Model().num_train_timesteps());
  for (uint32_t sample = 0; sample < 2; ++sample) {
    const at::Tensor noise = InitialNoise(11, 4, sample, {8, 8, 16}).unsqueeze(0);
    const at::Tensor expected = DrawLatents(
        [&](const at::Tensor& latents, float sigma) {
          return Model().transformer().Forward(
              {latents, at::full({1}, sigma), job.embeds.prompt_embeds, job.embeds.pooled}, &job.policy->adapter);
        },
        v1::EULER, sigmas, noise);
    EXPECT_TRUE(at::allclose(job.x0[sample], expected[0], 1e-4, 1e-4)) << sample;
  }
}

TEST_F(GroupSamplerTest, UsesThePolicyAndThePrompt) {
  GroupJob job = MakeJob(4, "a sign that says \"CAT\"", 1);
  ASSERT_TRUE(Sample({&job}).ok());
  GroupJob other_prompt = MakeJob(4, "a sign that says \"OWL\"", 1);
  ASSERT_TRUE(Sample({&other_prompt}).ok());
  EXPECT_FALSE(at::allclose(job.x0, other_prompt.x0, 1e-3, 1e-3));
  const auto layout = Model().transformer().MakeLoraLayout({"attn.to_q"}, 4, 8).value();
  GroupJob base_policy = MakeJob(4, "a sign that says \"CAT\"", 1);
  base_policy.policy = std::make_shared<const AdoptedPolicy>(
      AdoptedPolicy{v1::PolicyVersion(), Model().transformer().BindMerged(LoraAdapter::Initialise(layout, 1)).value()});
  ASSERT_TRUE(Sample({&base_policy}).ok());
  EXPECT_FALSE(at::allclose(job.x0, base_policy.x0, 1e-3, 1e-3));
}

TEST_F(GroupSamplerTest, KeepsMergedGroupsApart) {
  GroupJob a = MakeJob(1, "a sign that says \"CAT\"", 1);
  GroupJob b = MakeJob(2, "a sign that says \"MOON\"", 3);
  ASSERT_TRUE(Sample({&a, &b}).ok());
  GroupJob a_alone = MakeJob(1, "a sign that says \"CAT\"", 1);
  GroupJob b_alone = MakeJob(2, "a sign that says \"MOON\"", 3);
  ASSERT_TRUE(Sample({&a_alone}).ok());
  ASSERT_TRUE(Sample({&b_alone}).ok());
  EXPECT_TRUE(at::allclose(a.x0, a_alone.x0, 1e-4, 1e-4));
  EXPECT_TRUE(at::allclose(b.x0, b_alone.x0, 1e-4, 1e-4));
  DecodeGroups(Model().vae(), std::vector<GroupJob*>{&a, &b});
  DecodeGroups(Model().vae(), std::vector<GroupJob*>{&b_alone});
  ASSERT_EQ(a.images.size(), 1);
  ASSERT_EQ(b.images.size(), 3);
  EXPECT_EQ(b.images[2].height, 32);
  EXPECT_EQ(b.images[2].width, 64);
  int largest_difference = 0;
  for (size_t i = 0; i < b.images[2].rgb.size(); ++i)
    largest_difference = std::max(largest_difference, std::abs(static_cast<unsigned char>(b.images[2].rgb[i]) -
                                                               static_cast<unsigned char>(b_alone.images[2].rgb[i])));
  EXPECT_LE(largest_difference, 1);
}

TEST_F(GroupSamplerTest, StopsBetweenStepsWhenNobodyWantsTheGroup) {
  GroupJob job = MakeJob(1, "a sign that says \"CAT\"", 1);
  int asked = 0;
  const absl::Status status = Sample({&job}, [&asked] { return ++asked < 2; });
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
  EXPECT_EQ(asked, 2);
}

TEST_F(GroupSamplerTest, RefusesSamplerSettingsThatItCannotFollow) {
  GroupJob no_steps = MakeJob(1, "x", 1, /*steps=*/0);
  EXPECT_TRUE(absl::IsInvalidArgument(Sample({&no_steps})));
  GroupJob no_samples = MakeJob(1, "x", 0);
  EXPECT_TRUE(absl::IsInvalidArgument(Sample({&no_samples})));
  GroupJob no_solver = MakeJob(1, "x", 1);
  no_solver.lease.mutable_sampler()->set_solver(v1::SOLVER_UNSPECIFIED);
  EXPECT_TRUE(absl::IsInvalidArgument(Sample({&no_solver})));
}

TEST_F(GroupSamplerTest, RefusesStochasticStepsThatItCannotTake) {
  GroupJob job = MakeJob(1, "x", 1);
  *job.lease.mutable_stochastic() = Window(v1::FLOW_SDE, 2, 2);  // of three
  const absl::Status status = Sample({&job});
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
}

// Whoever has the lease can make the same trajectory: by its keys, and as the learner computes it.
TEST_F(GroupSamplerTest, BringsTheTrajectoryOfItsStochasticSteps) {
  for (const v1::SdeKind kind : {v1::FLOW_SDE, v1::CPS}) {
    GroupJob job = MakeJob(4, "a sign that says \"CAT\"", 2, /*steps=*/5);
    *job.lease.mutable_stochastic() = Window(kind, 1, 3);
    ASSERT_TRUE(Sample({&job}).ok());
    ASSERT_TRUE(job.trajectory.has_value());
    const auto& [states, log_probs] = *job.trajectory;
    EXPECT_THAT(states.sizes(), ::testing::ElementsAre(2, 4, 8, 8, 16));
    EXPECT_THAT(log_probs.sizes(), ::testing::ElementsAre(2, 3));
    EXPECT_TRUE(states.is_contiguous());
    const std::vector<float> sigmas = FlowMatchSigmas(5, Model().scheduler_shift(), Model().num_train_timesteps());
    const ConditionedTransformer velocity(Model().transformer(), &job.policy->adapter, job.embeds);
    for (int i = 0; i < 3; ++i) {
      const SdeStep step = MakeSdeStep(kind, 0.7, at::full({2}, sigmas[i + 1]), at::full({2}, sigmas[i + 2]));
      const at::Tensor x = states.select(1, i).contiguous(), next = states.select(1, i + 1);
      const at::Tensor mean = StepMean(step, x, velocity(x, sigmas[i + 1]));
      for (uint32_t sample = 0; sample < 2; ++sample) {
        const at::Tensor noise = StepNoise(11, 4, sample, i + 1, {8, 8, 16});
        EXPECT_TRUE(at::equal(next[sample], mean[sample] + step.std[0] * noise));
      }
      EXPECT_TRUE(at::equal(log_probs.select(1, i), StepLogProb(step, next, mean)));
    }
    GroupJob again = MakeJob(4, "a sign that says \"CAT\"", 2, /*steps=*/5);
    *again.lease.mutable_stochastic() = Window(kind, 1, 3);
    ASSERT_TRUE(Sample({&again}).ok());
    EXPECT_TRUE(at::equal(again.x0, job.x0));
    EXPECT_TRUE(at::equal(again.trajectory->states, states));
  }
}

TEST_F(GroupSamplerTest, KeepsTheTrajectoriesOfMergedGroupsApart) {
  const auto make = [](uint64_t group, const char* prompt, uint32_t samples) {
    GroupJob job = MakeJob(group, prompt, samples, /*steps=*/4);
    *job.lease.mutable_stochastic() = Window(v1::FLOW_SDE, 0, 2);
    return job;
  };
  GroupJob a = make(1, "a sign that says \"CAT\"", 1), b = make(2, "a sign that says \"MOON\"", 3);
  GroupJob a_alone = make(1, "a sign that says \"CAT\"", 1), b_alone = make(2, "a sign that says \"MOON\"", 3);
  ASSERT_TRUE(Sample({&a, &b}).ok() && Sample({&a_alone}).ok() && Sample({&b_alone}).ok());
  for (const auto& [merged, alone] : {std::pair{&a, &a_alone}, {&b, &b_alone}}) {
    EXPECT_TRUE(at::allclose(merged->x0, alone->x0, 1e-4, 1e-4));
    EXPECT_TRUE(at::allclose(merged->trajectory->states, alone->trajectory->states, 1e-4, 1e-4));
    EXPECT_TRUE(at::allclose(merged->trajectory->log_probs, alone->trajectory->log_probs, 1e-4, 1e-4));
    EXPECT_TRUE(at::equal(merged->trajectory->states.select(1, 0), alone->trajectory->states.select(1, 0)));
  }
}

TEST_F(GroupSamplerTest, GuidanceLeadsAwayFromTheNegativePromptAndIsNoneAtScaleOne) {
  GroupJob plain = MakeJob(4, "a sign that says \"CAT\"", 2);
  ASSERT_TRUE(Sample({&plain}).ok());
  const PromptEmbeds empty = Model().EncodePrompts({""}).value();
  GroupJob one = MakeJob(4, "a sign that says \"CAT\"", 2);
  one.lease.mutable_sampler()->set_guidance_scale(1);
  one.negative = empty;
  ASSERT_TRUE(Sample({&one}).ok());
  EXPECT_TRUE(at::equal(one.x0, plain.x0));
  GroupJob guided = MakeJob(4, "a sign that says \"CAT\"", 2);
  guided.lease.mutable_sampler()->set_guidance_scale(4.5);
  guided.negative = empty;
  ASSERT_TRUE(Sample({&guided}).ok());
  const std::vector<float> sigmas = FlowMatchSigmas(3, Model().scheduler_shift(), Model().num_train_timesteps());
  const auto velocity = [&](const at::Tensor& latents, float sigma) {
    const auto of = [&](const PromptEmbeds& prompt) {
      return Model().transformer().Forward({latents, at::full({1}, sigma), prompt.prompt_embeds, prompt.pooled},
                                           &guided.policy->adapter);
    };
    const at::Tensor negative = of(empty);
    return negative + 4.5 * (of(guided.embeds) - negative);
  };
  const at::Tensor noise = at::stack({InitialNoise(11, 4, 0, {8, 8, 16}), InitialNoise(11, 4, 1, {8, 8, 16})});
  EXPECT_TRUE(at::allclose(guided.x0, DrawLatents(velocity, v1::EULER, sigmas, noise), 1e-3, 1e-3));
  EXPECT_FALSE(at::allclose(guided.x0, plain.x0, 1e-2, 1e-2));
}

TEST_F(GroupSamplerTest, KeepsMergedGuidedGroupsApart) {
  const PromptEmbeds empty = Model().EncodePrompts({""}).value();
  const auto make = [&](uint64_t group, const char* prompt, uint32_t samples) {
    GroupJob job = MakeJob(group, prompt, samples);
    job.lease.mutable_sampler()->set_guidance_scale(3);
    job.negative = empty;
    return job;
  };
  GroupJob a = make(1, "a sign that says \"CAT\"", 1), b = make(2, "a sign that says \"MOON\"", 2);
  GroupJob b_alone = make(2, "a sign that says \"MOON\"", 2);
  ASSERT_TRUE(Sample({&a, &b}).ok() && Sample({&b_alone}).ok());
  EXPECT_TRUE(at::allclose(b.x0, b_alone.x0, 1e-3, 1e-3));
}

}  // namespace
}  // namespace flowawr
