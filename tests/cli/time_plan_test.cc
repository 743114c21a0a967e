#include "cli/time_plan.h"

#include <gtest/gtest.h>

namespace flowawr {
namespace {

// 8 groups of 16 images of 100 x 100 pixels in 5 steps, 3 sigmas of each trained in micro-batches of 32 rows.
v1::RunConfig Config() {
  v1::RunConfig config;
  config.mutable_model()->set_height(100);
  config.mutable_model()->set_width(100);
  config.mutable_sampler()->set_steps(5);
  config.mutable_rollout()->set_groups_per_batch(8);
  config.mutable_rollout()->set_samples_per_group(16);
  config.mutable_train()->set_updates(20);
  config.mutable_train()->set_timestep_fraction(0.99);
  config.mutable_train()->set_timesteps_per_sample(3);
  config.mutable_train()->set_micro_batch(32);
  config.mutable_algorithm()->set_behaviour(v1::CURRENT);
  config.mutable_rewards()->add_terms();
  config.mutable_evaluation()->set_steps(10);
  config.mutable_evaluation()->set_samples_per_prompt(2);
  config.mutable_evaluation()->set_prompts(30);
  config.mutable_evaluation()->set_every_updates(10);
  return config;
}

constexpr PassTimes kTimes = {.sample_row = 0.01, .decode_row = 0.1, .train_row = 1, .forward_row = 0.25};
constexpr ThreadBudget kBudget = {.actors = 2, .actor_threads = 1, .learner_threads = 4, .reward_threads = 2};

TEST(TimePlan, AddsUpWhatAnUpdateDoes) {
  const TimePlan plan = PlanTime(Config(), kBudget, /*heldout_prompts=*/0, /*cores=*/2, kTimes);
  EXPECT_DOUBLE_EQ(plan.sampling, 8 * 16 * 5 * 0.01);
  EXPECT_DOUBLE_EQ(plan.decoding, 8 * 16 * 0.1);
  EXPECT_DOUBLE_EQ(plan.scoring, 8 * 16 * AssumedScoringSeconds(10000) / 2);
  EXPECT_DOUBLE_EQ(plan.training, 8 * 48 * 1);  // 16 micro-batches, 4 threads
  EXPECT_DOUBLE_EQ(plan.total(), 20 * (plan.sampling + plan.decoding + plan.scoring + plan.training));
}

TEST(TimePlan, TrainsWithAPassMoreForEachPolicyThatIsNotTheTrainedOne) {
  v1::RunConfig config = Config();
  config.mutable_algorithm()->mutable_flow_awr()->set_kl_beta(0.1);
  EXPECT_DOUBLE_EQ(PlanTime(config, kBudget, 0, 2, kTimes).training, 8 * 48 * 1.25);
  config.mutable_rollout()->set_max_staleness(1);
  EXPECT_DOUBLE_EQ(PlanTime(config, kBudget, 0, 2, kTimes).training, 8 * 48 * 1.5);
  config.mutable_rollout()->set_max_staleness(0);
  config.mutable_algorithm()->set_behaviour(v1::RAMP);
  EXPECT_DOUBLE_EQ(PlanTime(config, kBudget, 0, 2, kTimes).training, 8 * 48 * 1.5);
}

TEST(TimePlan, TrainsOnNoMoreSigmasThanTheRolloutHas) {
  v1::RunConfig config = Config();
  config.mutable_train()->set_timesteps_per_sample(9);
  EXPECT_EQ(TrainingWorkOf(config).rows, 8 * 16 * 4);  // of 5 steps .99, whole ones
}

TEST(TimePlan, TrainsOnTheStepsThatDrewNoiseWhereTheMethodDoes) {
  v1::RunConfig config = Config();
  config.mutable_algorithm()->mutable_flow_grpo();
  EXPECT_EQ(TrainingWorkOf(config).rows, 8 * 16 * 4) << "all 5 but the last";
  config.mutable_algorithm()->mutable_flow_grpo()->set_window(2);
  EXPECT_EQ(TrainingWorkOf(config).rows, 8 * 16 * 2);
  config.mutable_rollout()->set_max_staleness(1);
  EXPECT_FALSE(TrainingWorkOf(config).computes_old) << "log-probabilities came with the group";
}

TEST(TimePlan, GuidanceTakesEveryPassTwice) {
  v1::RunConfig config = Config();
  const TimePlan plain = PlanTime(config, kBudget, 50, 2, kTimes);
  config.mutable_sampler()->set_guidance_scale(4.5);
  const TimePlan guided = PlanTime(config, kBudget, 50, 2, kTimes);
  EXPECT_DOUBLE_EQ(guided.sampling, 2 * plain.sampling);
  EXPECT_DOUBLE_EQ(guided.training, 2 * plain.training);
  EXPECT_DOUBLE_EQ(guided.decoding, plain.decoding);
  EXPECT_DOUBLE_EQ(guided.evaluation - plain.evaluation, 30 * 2 * 10 * 0.01);
}

TEST(TimePlan, WorkThatCannotBeSharedEvenlyTakesAsLongAsTheBusiest) {
  v1::RunConfig config = Config();
  config.mutable_rollout()->set_groups_per_batch(3);
  const TimePlan plan = PlanTime(config, kBudget, 0, 2, kTimes);
  EXPECT_DOUBLE_EQ(plan.sampling, 4 * 16 * 5 * 0.01);  // two rounds of two actors
  EXPECT_DOUBLE_EQ(plan.training, 8.0 / 6 * 3 * 48);   // 6 micro-batches in two rounds of four threads
}

TEST(TimePlan, EvaluatesFirstAndLastAndOnTheWay) {
  const double image = 10 * 0.01 + 0.1 + AssumedScoringSeconds(10000) / 2;
  TimePlan plan = PlanTime(Config(), kBudget, /*heldout_prompts=*/50, 2, kTimes);
  EXPECT_EQ(plan.evaluations, 1);  // after update 10; that after 20 is the last
  EXPECT_DOUBLE_EQ(plan.evaluation, 30 * 2 * image);
  EXPECT_DOUBLE_EQ(plan.first_evaluation, 50 * 2 * image);
  EXPECT_DOUBLE_EQ(plan.evaluating(), (30 + 50 + 50) * 2 * image);
  plan = PlanTime(Config(), kBudget, /*heldout_prompts=*/10, 2, kTimes);
  EXPECT_DOUBLE_EQ(plan.evaluation, 10 * 2 * image) << "there are no more";
  v1::RunConfig config = Config();
  config.mutable_evaluation()->set_every_updates(0);
  EXPECT_EQ(PlanTime(config, kBudget, 50, 2, kTimes).evaluations, 0);
  EXPECT_EQ(PlanTime(Config(), kBudget, 0, 2, kTimes).evaluating(), 0);
}

}  // namespace
}  // namespace flowawr
