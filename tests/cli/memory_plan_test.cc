#include "cli/memory_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "cli/machine_memory.h"
#include "common/config/run_config.h"
#include "common/sd3/transformer_memory.h"

namespace flowawr {
namespace {

constexpr int64_t kGb = 1'000'000'000;

v1::RunConfig Config(const std::vector<std::string>& overrides = {}) {
  auto config = ParseRunConfig(
      "run_dir: run\nmodel: {path: model, dtype: bfloat16, height: 512, width: 512, max_sequence_length: 128}\n"
      "prompts: {train: prompts.txt}\n"
      "rewards: {terms: [{scorer: ocr}]}\nevaluation: {every_updates: 0}\ntrain: {micro_batch: 4, threads: 2}\n",
      "test", overrides);
  EXPECT_TRUE(config.ok()) << config.status();
  return *config;
}

MemoryPlan Plan(const std::vector<std::string>& overrides = {}) {
  const v1::RunConfig config = Config(overrides);
  auto plan = PlanMemory(config, Sd35MediumSizes(), BudgetThreads(2, config), /*has_bf16_kernels=*/true);
  EXPECT_TRUE(plan.ok()) << plan.status();
  return *plan;
}

int64_t Part(const std::vector<MemoryPart>& parts, const std::string& name) {
  for (const MemoryPart& part : parts)
    if (part.name.find(name) != std::string::npos) return part.bytes;
  ADD_FAILURE() << "no part " << name;
  return 0;
}

TEST(MemoryPlan, NamesWhatTheClosedFormsGive) {
  const MemoryPlan plan = Plan({"rollout.groups_per_batch=10", "rollout.samples_per_group=4"});
  const int64_t adapter = 18'776'064 * 4;
  EXPECT_EQ(Part(plan.learner, "transformer's weights"), 2 * 2'469'663'936);
  EXPECT_EQ(Part(plan.learner, "moments"), 5 * adapter);
  EXPECT_EQ(Part(plan.learner, "policy versions"), 3 * 2 * adapter);
  EXPECT_EQ(Part(plan.learner, "bound to the layers"), 2 * adapter);
  EXPECT_EQ(Part(plan.learner, "groups that came in"), 10 * 4 * (4 * 16 * 64 * 64 + 205 * 4096 + 2048));
  EXPECT_EQ(Part(plan.actor, "text encoders"), 2 * (123'650'304 + 694'659'840 + 4'762'310'656));
  EXPECT_EQ(Part(Plan({"model.embeds_cache=embeds"}).actor, "text encoders"), 0);
  EXPECT_EQ(Part(plan.actor, "autoencoder"), 2 * 83'819'683);
  EXPECT_EQ(plan.Machine(2), MemoryPlan::Sum(plan.learner) + 2 * MemoryPlan::Sum(plan.actor));
}

TEST(MemoryPlan, CountsEveryRankOfTheLearner) {
  const MemoryPlan plan = Plan({"train.ranks=3", "rollout.groups_per_batch=10", "rollout.samples_per_group=4"});
  EXPECT_EQ(plan.other_ranks, 2);
  EXPECT_EQ(Part(plan.rank, "transformer's weights"), Part(plan.learner, "transformer's weights"));
  EXPECT_EQ(Part(plan.rank, "micro-batches"), Part(plan.learner, "micro-batches"));
  EXPECT_EQ(Part(plan.rank, "adapters of a batch's versions"), 2 * 18'776'064 * 4);
  EXPECT_EQ(plan.Machine(2),
            MemoryPlan::Sum(plan.learner) + 2 * MemoryPlan::Sum(plan.rank) + 2 * MemoryPlan::Sum(plan.actor));
  EXPECT_EQ(plan.Host(2, true, false),
            plan.Machine(2) - MemoryPlan::OfDevice(plan.learner) - 2 * MemoryPlan::OfDevice(plan.rank));
}

TEST(MemoryPlan, PartsWhatLiesOnDevicesFromWhatStaysWithTheHost) {
  const MemoryPlan plan = Plan();
  const int64_t kept_by_host = Part(plan.learner, "program") + Part(plan.learner, "moments") +
                               Part(plan.learner, "policy versions") + Part(plan.learner, "groups that came in");
  EXPECT_EQ(MemoryPlan::OfDevice(plan.learner), MemoryPlan::Sum(plan.learner) - kept_by_host);
  EXPECT_EQ(plan.Host(2, true, false), plan.Machine(2) - MemoryPlan::OfDevice(plan.learner));
  EXPECT_EQ(plan.Host(2, true, true),
            kept_by_host + 2 * (Part(plan.actor, "program") + Part(plan.actor, "on their way") +
                                Part(plan.actor, "prompt embeddings")));
}

TEST(MemoryPlan, KeepsForABlockWhatTheRuleOfThumbSays) {
  const TransformerConfig model = Sd35MediumSizes().transformer;
  const v1::RunConfig config = Config();
  const LoraTargets lora = {32, {config.lora().target_modules().begin(), config.lora().target_modules().end()}};
  const PassShape pass{.rows = 2, .latent_height = 64, .latent_width = 64, .text_tokens = 205, .bytes = 2};
  const double all = static_cast<double>(TrainingMemory(model, lora, pass, 0, false).kept);
  const double image = 1024, text = 205, unit = 2 * 2 * 1536;
  EXPECT_NEAR(all / (unit * (13 * (15 * image + 11 * text) + 11 * (11 * image + 11 * text))), 1, 0.05);
  const double checkpointed = static_cast<double>(TrainingMemory(model, lora, pass, 24, false).kept);
  EXPECT_NEAR(checkpointed / (unit * 24 * (image + text)), 1, 0.1);
}

TEST(MemoryPlan, HoldsTheTrajectoriesAndTheEmptyPromptOfGroupsThatBringThem) {
  const std::vector<std::string> small = {"rollout.groups_per_batch=10", "rollout.samples_per_group=4",
                                          "sampler.steps=8", "train.timesteps_per_sample=3"};
  const auto groups = [&](std::vector<std::string> more) {
    more.insert(more.begin(), small.begin(), small.end());
    return Part(Plan(more).learner, "groups that came in") / 10;
  };
  const int64_t latent = 4 * 16 * 64 * 64, prompt = 4 * (205 * 4096 + 2048);
  EXPECT_EQ(groups({}), 4 * latent + prompt);
  EXPECT_EQ(groups({"algorithm.flow_grpo={}"}), 4 * (latent + 8 * latent + 4 * 7) + prompt);
  EXPECT_EQ(groups({"algorithm.flow_grpo.window=2"}), 4 * (latent + 3 * latent + 4 * 2) + prompt);
  EXPECT_EQ(groups({"algorithm.flow_grpo.window=2", "sampler.guidance_scale=4.5"}),
            4 * (latent + 3 * latent + 4 * 2) + 2 * prompt);
}

TEST(MemoryPlan, GuidanceSamplesTwiceTheRowsAndKeepsTwoForwardPasses) {
  const MemoryPlan plain = Plan({"algorithm.flow_grpo={}"});
  const MemoryPlan guided = Plan({"algorithm.flow_grpo={}", "sampler.guidance_scale=4.5"});
  EXPECT_GT(Part(guided.actor, "sampling, 24 images"), Part(plain.actor, "sampling, 24 images") * 3 / 2);
  const int64_t kept = Part(guided.learner, "micro-batches") - Part(plain.learner, "micro-batches");
  EXPECT_GT(kept, Part(plain.learner, "micro-batches") / 2)
      << "most of a micro-batch is what waits for the backward pass";
  EXPECT_LT(kept, Part(plain.learner, "micro-batches"));
}

TEST(MemoryPlan, GrowsWithWhatCostsMemoryAndShrinksWithCheckpoints) {
  const auto learner = [](const std::vector<std::string>& overrides) {
    return MemoryPlan::Sum(Plan(overrides).learner);
  };
  const int64_t base = learner({});
  EXPECT_GT(learner({"train.micro_batch=8"}), base);
  EXPECT_GT(learner({"train.threads=4"}), base);
  EXPECT_GT(learner({"model.height=768"}), base);
  EXPECT_GT(learner({"model.dtype=float32"}), base);
  EXPECT_GT(learner({"lora.rank=256"}), base);
  EXPECT_GT(learner({"rollout.max_staleness=2"}), base);
  EXPECT_EQ(learner({"train.micro_batch=10000"}), learner({"train.micro_batch=216"})) << "24 samples at 9 sigmas";
  int64_t last = base;
  for (const char* blocks : {"6", "12", "24"}) {
    const int64_t now = learner({std::string("train.checkpointed_blocks=") + blocks});
    EXPECT_LT(now, last) << blocks;
    last = now;
  }
  EXPECT_EQ(learner({"train.checkpointed_blocks=100"}), last) << "more blocks than there are: all";
}

TEST(MemoryPlan, ChoosesNoMoreCheckpointsAndNoFewerRowsThanNeedBe) {
  const v1::RunConfig config = Config();
  const ModelSizes model = Sd35MediumSizes();
  const ThreadBudget budget = BudgetThreads(2, config);
  const auto choose = [&](int64_t memory) { return ChooseWhatFits(config, model, budget, true, 0, memory).value(); };
  EXPECT_EQ(choose(1000 * kGb), (TrainChoice{0, 4, 2}));
  EXPECT_EQ(choose(5 * kGb), std::nullopt);
  int64_t previous_rank = -1;
  for (int64_t memory = 6 * kGb; memory < 30 * kGb; memory += kGb) {
    const auto choice = choose(memory);
    if (!choice) continue;
    v1::RunConfig chosen = config;
    chosen.mutable_train()->set_checkpointed_blocks(choice->checkpointed_blocks);
    chosen.mutable_train()->set_micro_batch(choice->micro_batch);
    ThreadBudget threads = budget;
    threads.learner_threads = choice->threads;
    EXPECT_LE(MemoryPlan::Sum(PlanMemory(chosen, model, threads, true)->learner), memory);
    // Never worse with more memory.
    const int64_t rank = choice->threads * 10000 - choice->checkpointed_blocks * 100 + choice->micro_batch;
    EXPECT_GE(rank, previous_rank) << memory;
    previous_rank = rank;
  }
}

TEST(MemoryPlan, RefusesSizesThatTheModelCannotDo) {
  const v1::RunConfig config = Config({"model.height=500"});
  const auto plan = PlanMemory(config, Sd35MediumSizes(), BudgetThreads(2, config), true);
  EXPECT_EQ(plan.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(MachineMemory, ReadsAmountsAndRefusesOthers) {
  EXPECT_EQ(ParseMemory("24GiB").value(), int64_t{24} << 30);
  EXPECT_EQ(ParseMemory("1.5 GB").value(), 1'500'000'000);
  EXPECT_EQ(ParseMemory("4096B").value(), 4096);
  for (const char* text : {"", "24", "GiB", "24 gibibytes", "-3GB", "0", "1e3GB"})
    EXPECT_EQ(ParseMemory(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  EXPECT_GT(MachineMemory(), 0);
}

}  // namespace
}  // namespace flowawr
