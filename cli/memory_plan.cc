#include "cli/memory_plan.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "common/config/algorithm_options.h"
#include "common/config/trained_sigmas.h"
#include "common/rollout/actor_sizes.h"
#include "common/rollout/group_schema.h"
#include "common/sd3/component_loader.h"
#include "common/sd3/compute_dtype.h"
#include "common/sd3/transformer_memory.h"
#include "common/sd3/vae_memory.h"

namespace flowawr {
namespace {

constexpr int64_t kFloat = 4;
constexpr size_t kMostConfigBytes = size_t{1} << 20;
// Measured: resident pages of the program and its libraries once they have computed, thread stacks, the kernels' own
// scratch.
constexpr int64_t kProgramBytes = int64_t{200} << 20;

LoraTargets TargetsOf(const v1::LoraConfig& lora) {
  return {lora.rank(), {lora.target_modules().begin(), lora.target_modules().end()}};
}

int64_t BytesOf(v1::ComputeDType dtype) { return static_cast<int64_t>(c10::elementSize(ScalarTypeOf(dtype))); }

// A component's config.json.
template <typename Config>
absl::StatusOr<Config> ReadComponent(const std::string& folder,
                                     absl::StatusOr<Config> (*parse)(absl::string_view json, const std::string&)) {
  const std::string path = folder + "/config.json";
  FLOWAWR_ASSIGN_OR_RETURN(const std::string json, ReadFile(path, kMostConfigBytes));
  return parse(json, path);
}

// Rows of a micro-batch: those of one group, at most.
int64_t MicroBatchRows(const v1::RunConfig& config) {
  return std::min<int64_t>(config.train().micro_batch(),
                           int64_t{config.rollout().samples_per_group()} * RowsPerSample(config));
}

// One group as the learner keeps it.
int64_t GroupBytes(const v1::RunConfig& config, const ModelSizes& model, const LatentShape& shape) {
  v1::Lease lease;
  lease.set_samples(static_cast<uint32_t>(config.rollout().samples_per_group()));
  *lease.mutable_sampler() = config.sampler();
  if (TraitsOf(config.algorithm()).trains_on_trajectory())
    lease.mutable_stochastic()->set_count(static_cast<uint32_t>(RowsPerSample(config)));
  const GroupShape of_group = {.channels = shape.channels,
                               .latent_height = shape.height,
                               .latent_width = shape.width,
                               .max_tokens = TextTokens(config, model),
                               .embed_dim = model.transformer.joint_attention_dim,
                               .pooled_dim = model.transformer.pooled_projection_dim};
  int64_t bytes = 0;
  for (const GroupTensor& tensor : GroupSchema(lease, of_group)) {
    bytes += std::accumulate(tensor.dims.begin(), tensor.dims.end(), static_cast<int64_t>(c10::elementSize(tensor.dtype)),
                             std::multiplies<>());
  }
  return bytes;
}

// Of rank 0, or of each other one.
std::vector<MemoryPart> PlanLearner(const v1::RunConfig& config, const ModelSizes& model, const LatentShape& shape,
                                    const PassShape& pass, int64_t threads, bool is_rank0) {
  const LoraTargets lora = TargetsOf(config.lora());
  const AdapterSize adapter = SizeOfAdapter(model.transformer, lora);
  const int64_t vector = adapter.values * kFloat;
  const int64_t versions = 1 + config.rollout().max_staleness();
  const PassMemory training = TrainingMemory(model.transformer, lora, pass, config.train().checkpointed_blocks(),
                                             ComputesReference(config));
  // Guided, the pass of the empty prompt waits for the backward pass, too.
  const int64_t micro_batch = training.peak + (IsGuided(config.sampler()) ? training.kept : 0);
  const int64_t groups = versions * config.rollout().groups_per_batch();
  constexpr bool kOfDevice = true;
  std::vector<MemoryPart> adapters = {
      {"adapter by role, AdamW's moments", 5 * vector},
      {"policy versions kept for actors", (config.rollout().max_staleness() + 3) * 2 * vector}};
  if (!is_rank0) adapters = {{"adapters of a batch's versions", (1 + versions) * vector}};
  std::vector<MemoryPart> parts = {
      {"program and LibTorch", kProgramBytes},
      {"transformer's weights", TransformerValues(model.transformer) * pass.bytes, kOfDevice},
      {"adapters bound to the layers",
       (1 + (ComputesOld(config) ? versions : 0)) * BoundAdapterBytes(model.transformer, lora, pass), kOfDevice},
      {absl::StrCat("micro-batches, ", threads, " side by side"), threads * micro_batch, kOfDevice},
      {"gradients being summed up", threads * vector, kOfDevice},
      {"groups that came in", (is_rank0 ? groups : config.rollout().groups_per_batch()) * GroupBytes(config, model, shape)},
  };
  parts.insert(parts.begin() + 2, adapters.begin(), adapters.end());
  return parts;
}

// The held-out images that an actor samples together at most.
int64_t EvaluationRows(const v1::RunConfig& config) {
  const v1::EvaluationConfig& evaluation = config.evaluation();
  if (config.prompts().heldout().empty()) return 0;
  if (evaluation.prompts() == 0 || evaluation.final_prompts() == 0) return kEvaluationRows;  // all of the file
  const int64_t prompts = std::max(evaluation.prompts(), evaluation.final_prompts());
  return std::min<int64_t>(prompts * evaluation.samples_per_prompt(), kEvaluationRows);
}

std::vector<MemoryPart> PlanActor(const v1::RunConfig& config, const ModelSizes& model, const LatentShape& shape,
                                  PassShape pass) {
  const AdapterSize adapter = SizeOfAdapter(model.transformer, TargetsOf(config.lora()));
  int64_t encoders = 0;
  if (config.model().embeds_cache().empty()) {
    encoders = model.t5 ? T5Values(*model.t5) : 0;
    for (const ClipTextConfig& clip : model.clip) encoders += ClipTextValues(clip);
  }
  const int64_t samples = config.rollout().samples_per_group();
  const int64_t images = std::max(samples, EvaluationRows(config));
  pass.rows = images * (IsGuided(config.sampler()) ? 2 : 1);
  const int64_t pixels = int64_t{config.model().height()} * config.model().width();
  const int64_t decoded_at_once = std::clamp<int64_t>(kDecodePixels / pixels, 1, images);
  const int64_t embeds =
      TextTokens(config, model) * model.transformer.joint_attention_dim + model.transformer.pooled_projection_dim;
  constexpr bool kOfDevice = true;
  return {
      {"program and LibTorch", kProgramBytes},
      {"transformer's weights", TransformerValues(model.transformer) * pass.bytes, kOfDevice},
      {"text encoders' weights", encoders * pass.bytes, kOfDevice},
      {"autoencoder's weights", VaeValues(model.vae) * pass.bytes, kOfDevice},
      {absl::StrCat("adapted layers of ", kVersionsKept, " policy versions"),
       kVersionsKept * (adapter.folded_weights * pass.bytes + adapter.values * kFloat), kOfDevice},
      {absl::StrCat("sampling, ", images, " images at once"), SamplingMemory(model.transformer, pass).peak, kOfDevice},
      {absl::StrCat("decoding, ", decoded_at_once, " at once"),
       DecodeMemory(model.vae, decoded_at_once, shape.height, shape.width, pass.bytes), kOfDevice},
      {"groups on their way", kScoreWorkers * (samples * pixels * 3 + GroupBytes(config, model, shape))},
      {"prompt embeddings kept", kPromptsKept * embeds * pass.bytes},
  };
}

}  // namespace

absl::StatusOr<ModelSizes> ReadModelSizes(const std::string& folder, bool has_text_encoders) {
  ModelSizes model{.name = folder};
  FLOWAWR_ASSIGN_OR_RETURN(model.transformer, ReadComponent(folder + "/transformer", ParseTransformerConfig));
  FLOWAWR_ASSIGN_OR_RETURN(model.vae, ReadComponent(folder + "/vae", ParseVaeConfig));
  if (!has_text_encoders) return model;
  for (const char* encoder : {"/text_encoder", "/text_encoder_2"}) {
    FLOWAWR_ASSIGN_OR_RETURN(model.clip.emplace_back(), ReadComponent(folder + encoder, ParseClipTextConfig));
  }
  const absl::StatusOr<ComponentLoader> index = ComponentLoader::Open(folder, /*progress=*/nullptr);
  if (index.ok() && !index->Has("text_encoder_3")) return model;
  absl::StatusOr<T5Config> t5 = ReadComponent(folder + "/text_encoder_3", ParseT5Config);
  if (t5.ok()) {
    model.t5 = *std::move(t5);
  } else if (!absl::IsNotFound(t5.status())) {
    return t5.status();
  }
  return model;
}

int64_t TextTokens(const v1::RunConfig& config, const ModelSizes& model) {
  constexpr int64_t kClipTokens = 77;  // of every published model
  return (model.clip.empty() ? kClipTokens : model.clip[0].max_position_embeddings) +
         config.model().max_sequence_length();
}

ModelSizes Sd35MediumSizes() {
  ModelSizes model{.name = "Stable Diffusion 3.5 Medium"};
  model.transformer = {.num_layers = 24,
                       .num_attention_heads = 24,
                       .caption_projection_dim = 1536,
                       .pos_embed_max_size = 384,
                       .has_qk_norm = true,
                       .dual_attention_layers = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}};
  model.vae = {.latent_channels = 16,
               .block_out_channels = {128, 256, 512, 512},
               .layers_per_block = 2,
               .use_quant_conv = false,
               .use_post_quant_conv = false};
  model.clip = {{.hidden_size = 768, .intermediate_size = 3072, .projection_dim = 768, .num_hidden_layers = 12},
                {.hidden_size = 1280, .intermediate_size = 5120, .projection_dim = 1280, .num_hidden_layers = 32}};
  model.t5 = {.d_model = 4096, .d_ff = 10240, .num_layers = 24, .num_heads = 64, .is_gated = true};
  return model;
}

int64_t MemoryPlan::Sum(const std::vector<MemoryPart>& parts) {
  int64_t sum = 0;
  for (const MemoryPart& part : parts) sum += part.bytes;
  return sum;
}

int64_t MemoryPlan::OfDevice(const std::vector<MemoryPart>& parts) {
  int64_t sum = 0;
  for (const MemoryPart& part : parts)
    if (part.is_of_device) sum += part.bytes;
  return sum;
}

absl::StatusOr<MemoryPlan> PlanMemory(const v1::RunConfig& config, const ModelSizes& model, const ThreadBudget& budget,
                                      bool has_bf16_kernels) {
  FLOWAWR_ASSIGN_OR_RETURN(const LatentShape shape, LatentShapeFor(model.transformer, model.vae.downscale(),
                                                                   config.model().height(), config.model().width()));
  PassShape pass{.rows = MicroBatchRows(config),
                 .latent_height = shape.height,
                 .latent_width = shape.width,
                 .text_tokens = TextTokens(config, model),
                 .bytes = BytesOf(config.model().dtype()),
                 .has_bf16_kernels = has_bf16_kernels};
  MemoryPlan plan;
  plan.learner = PlanLearner(config, model, shape, pass, budget.learner_threads, /*is_rank0=*/true);
  plan.rank = PlanLearner(config, model, shape, pass, budget.learner_threads, /*is_rank0=*/false);
  plan.other_ranks = config.train().ranks() - 1;
  pass.threads = budget.actor_threads;
  plan.actor = PlanActor(config, model, shape, pass);
  return plan;
}

absl::StatusOr<std::optional<TrainChoice>> ChooseWhatFits(const v1::RunConfig& config, const ModelSizes& model,
                                                          ThreadBudget budget, bool has_bf16_kernels, int actors,
                                                          int64_t memory) {
  v1::RunConfig trial = config;
  const int blocks = static_cast<int>(model.transformer.num_layers);
  const auto fits = [&](const TrainChoice& choice) -> absl::StatusOr<bool> {
    trial.mutable_train()->set_checkpointed_blocks(choice.checkpointed_blocks);
    trial.mutable_train()->set_micro_batch(choice.micro_batch);
    budget.learner_threads = choice.threads;
    FLOWAWR_ASSIGN_OR_RETURN(const MemoryPlan plan, PlanMemory(trial, model, budget, has_bf16_kernels));
    return plan.Machine(actors) <= memory;
  };
  for (int threads = budget.learner_threads; threads > 0; --threads) {
    std::optional<TrainChoice> best;
    for (int rows = config.train().micro_batch(); rows > 0; rows /= 2) {
      for (int checkpointed = 0; checkpointed <= blocks; checkpointed += std::max(1, blocks / 4)) {
        const TrainChoice choice{checkpointed, rows, threads};
        if (best && best->checkpointed_blocks <= checkpointed) break;
        FLOWAWR_ASSIGN_OR_RETURN(const bool does, fits(choice));
        if (!does) continue;
        best = choice;
        break;
      }
    }
    if (best) return best;
  }
  return std::nullopt;
}

}  // namespace flowawr
