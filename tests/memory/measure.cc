// What one step of the learner or of an actor takes in memory: does it, and prints a line of JSON.
//
//   flowawr_measure_memory CASE.json     {"what": "train" | "sample" | "decode", "model": FOLDER, "dtype": "bfloat16",
//                                         "height": 512, "width": 512, "rows": 1, "checkpointed_blocks": 0,
//                                         "threads": 1, "steps": 2, "text_tokens": 205}
//
// A process of its own for each case, because a peak of resident memory cannot be told from what an earlier one left.
// `model` may hold the folders that the case reads and nothing else.
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <torch/types.h>

#include <atomic>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "actor/group_sampler.h"
#include "common/base/allocator.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "common/diffusion/noise.h"
#include "common/sd3/latent_shape.h"
#include "common/sd3/vae.h"
#include "learner/local_gradient_engine.h"

namespace flowawr {
namespace {

// Bytes, of this process.
int64_t Resident(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    int64_t kilobytes = 0;
    if (word == field && status >> kilobytes) return kilobytes * 1024;
  }
  return 0;
}

struct Case {
  std::string what, model;
  at::ScalarType dtype;
  int64_t height, width, rows, checkpointed_blocks, threads, steps, text_tokens;
  double kl_beta;
};

at::Tensor Noise(uint64_t seed, at::IntArrayRef shape) { return InitialNoise(seed, 0, 0, shape); }

absl::StatusOr<LoraAdapter> MakeAdapter(const Transformer& transformer) {
  FLOWAWR_ASSIGN_OR_RETURN(
      const auto layout,
      transformer.MakeLoraLayout({"attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0", "attn.add_q_proj",
                                  "attn.add_k_proj", "attn.add_v_proj", "attn.to_add_out"},
                                 32, 64));
  return LoraAdapter::Initialise(layout, 1);
}

// `steps` micro-batches of `rows` a thread, as the learner computes them.
absl::Status Train(const Case& wanted, int64_t* before) {
  at::set_num_threads(1);
  FLOWAWR_ASSIGN_OR_RETURN(const auto transformer, Transformer::Load(wanted.model + "/transformer", wanted.dtype));
  FLOWAWR_ASSIGN_OR_RETURN(const LoraAdapter adapter, MakeAdapter(*transformer));
  const TransformerConfig& model = transformer->config();
  v1::RunConfig config;
  config.mutable_algorithm()->mutable_flow_awr()->set_kl_beta(wanted.kl_beta);
  config.mutable_sampler()->set_steps(1);
  config.mutable_train()->set_timestep_fraction(1);
  config.mutable_train()->set_timesteps_per_sample(1);
  std::vector<Group> batch(1);
  const int64_t samples = wanted.rows * wanted.threads * wanted.steps;
  batch[0].x0 = Noise(1, {samples, model.in_channels, wanted.height / 8, wanted.width / 8});
  batch[0].prompt_embeds = Noise(2, {wanted.text_tokens, model.joint_attention_dim});
  batch[0].pooled_prompt_embeds = Noise(3, {model.pooled_projection_dim});
  const std::vector<bool> is_all_equal = {false};
  FLOWAWR_ASSIGN_OR_RETURN(std::shared_ptr<const Algorithm> algorithm, MakeAlgorithm(config, {1, 0}));
  LocalGradientEngine engine({transformer}, std::move(algorithm),
                             {.threads = static_cast<int>(wanted.threads),
                              .micro_batch = static_cast<int>(wanted.rows),
                              .checkpointed_blocks = static_cast<int>(wanted.checkpointed_blocks)});
  const std::atomic<bool> never = false;
  *before = Resident("VmRSS:");
  return engine
      .Compute({.update = 1,
                .batch = batch,
                .signals = Noise(4, {1, samples}),
                .is_all_equal = is_all_equal,
                .current = adapter,
                .old_adapter = [](uint64_t) { return nullptr; },
                .is_cancelled = never})
      .status();
}

absl::Status Sample(const Case& wanted, int64_t* before) {
  at::set_num_threads(static_cast<int>(wanted.threads));
  FLOWAWR_ASSIGN_OR_RETURN(const auto transformer, Transformer::Load(wanted.model + "/transformer", wanted.dtype));
  const c10::InferenceMode guard;
  FLOWAWR_ASSIGN_OR_RETURN(const LoraAdapter adapter, MakeAdapter(*transformer));
  const TransformerConfig& model = transformer->config();
  *before = Resident("VmRSS:");
  FLOWAWR_ASSIGN_OR_RETURN(const BoundAdapter merged, transformer->BindMerged(adapter));
  TransformerInput input{.latents = Noise(1, {wanted.rows, model.in_channels, wanted.height / 8, wanted.width / 8}),
                         .sigma = at::ones({1}),
                         .prompt_embeds = Noise(2, {1, wanted.text_tokens, model.joint_attention_dim}),
                         .pooled_prompt_embeds = Noise(3, {1, model.pooled_projection_dim})};
  for (int64_t step = 0; step < wanted.steps; ++step)
    input.latents = input.latents - 0.1 * transformer->Forward(input, &merged);
  return absl::OkStatus();
}

absl::Status Decode(const Case& wanted, int64_t* before) {
  at::set_num_threads(static_cast<int>(wanted.threads));
  FLOWAWR_ASSIGN_OR_RETURN(const auto vae, Vae::Load(wanted.model + "/vae", wanted.dtype));
  const c10::InferenceMode guard;
  GroupJob job;
  job.lease.set_samples(static_cast<uint32_t>(wanted.rows));
  job.x0 = Noise(1, {wanted.rows, vae->config().latent_channels, wanted.height / vae->downscale(),
                     wanted.width / vae->downscale()});
  GroupJob* const jobs[] = {&job};
  *before = Resident("VmRSS:");
  DecodeGroups(*vae, jobs);
  return absl::OkStatus();
}

absl::Status Measure(const std::string& file) {
  GiveBackFreedMemory();  // as learner and actors do
  const int64_t process = Resident("VmRSS:");
  FLOWAWR_ASSIGN_OR_RETURN(const std::string text, ReadFile(file));
  const nlohmann::json json = nlohmann::json::parse(text);
  const Case wanted{.what = json.at("what"),
                    .model = json.at("model"),
                    .dtype = json.at("dtype") == "bfloat16" ? at::kBFloat16 : at::kFloat,
                    .height = json.at("height"),
                    .width = json.at("width"),
                    .rows = json.at("rows"),
                    .checkpointed_blocks = json.value("checkpointed_blocks", 0),
                    .threads = json.value("threads", 1),
                    .steps = json.value("steps", 1),
                    .text_tokens = json.value("text_tokens", 205),
                    .kl_beta = json.value("kl_beta", 1e-4)};
  int64_t before = 0;
  FLOWAWR_RETURN_IF_ERROR((wanted.what == "train"    ? Train
                           : wanted.what == "sample" ? Sample
                                                     : Decode)(wanted, &before));
  const nlohmann::json line = {{"process", process}, {"before", before}, {"peak", Resident("VmHWM:")}};
  std::printf("%s\n", line.dump().c_str());
  return absl::OkStatus();
}

}  // namespace
}  // namespace flowawr

int main(int argc, char** argv) {
  const absl::Status status = argc == 2 ? flowawr::Measure(argv[1]) : absl::InvalidArgumentError("name a case file");
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
