// What a run needs in memory, process by process and part by part, from its configuration and the sizes of its model.
// Pure: reads no weights, no machine. What the passes through the model take is common/sd3/transformer_memory.h's and
// vae_memory.h's to say; here it is added up as the processes hold it. Formulas, v being the values of the adapter, b
// the bytes of one value of the base:
//
//   learner   weights of the transformer, b each
//             adapters by role (current, behaviour, average) and AdamW's two moments: 5 x 4 v
//             published policy versions: max_staleness + 2 and the average one, each as bytes and as values: 2 x 4 v
//             adapters bound for training: the current one, and where v_old differs from it one a version that a batch
//             may be of; bfloat16: 4 v; float32: the adapted layers' weights once more
//             train.threads micro-batches side by side, each TrainingMemory(), and what its forward pass keeps once more
//             when guided; the gradients being summed up: 4 v each
//             groups that came in: what GroupSchema() lists, for (1 + max_staleness) batches
//   rank      of each other rank of the learner: as the learner, but the adapters of a batch's versions (4 v each) for those by
//             role, AdamW's moments and the published versions; at most all groups of a batch
//   actor     weights of transformer, autoencoder and text encoders; with model.embeds_cache none of the latter, taking
//             the cache to be full
//             two adopted policy versions (this and the other limits: common/rollout/actor_sizes.h): the adapted layers' weights once more each, and 4 v
//             sampling one group, SamplingMemory(), of twice the rows when guided; decoding beside it, DecodeMemory();
//             groups on their way, images and tensors; the embeddings of the last 256 prompts
//   both      the program and LibTorch
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/thread_budget.h"
#include "common/sd3/latent_shape.h"
#include "common/sd3/model_size.h"
#include "flowawr/v1/config.pb.h"

namespace flowawr {

struct ModelSizes {
  std::string name;  // a folder, or a published model
  TransformerConfig transformer;
  VaeConfig vae;
  std::vector<ClipTextConfig> clip;
  std::optional<T5Config> t5;
};

// From the config.json files of a diffusers folder. NotFound, or InvalidArgument as the loaders say it.
// `has_text_encoders` false: their folders need not be there, and count nothing.
absl::StatusOr<ModelSizes> ReadModelSizes(const std::string& folder, bool has_text_encoders = true);

// The published Stable Diffusion 3.5 Medium.
ModelSizes Sd35MediumSizes();

// Tokens of a prompt: of CLIP, whose tokenizers are as long as its positions, and of T5.
int64_t TextTokens(const v1::RunConfig& config, const ModelSizes& model);

struct MemoryPart {
  std::string name;
  int64_t bytes = 0;
  bool is_of_device = false;  // lies in the memory of an accelerator where the process has one
};

struct MemoryPlan {
  std::vector<MemoryPart> learner, actor;
  std::vector<MemoryPart> rank;  // each of the learner's other ranks, of which `flowawr run` starts all
  int other_ranks = 0;

  static int64_t Sum(const std::vector<MemoryPart>& parts);
  static int64_t OfDevice(const std::vector<MemoryPart>& parts);  // of Sum()
  int64_t Machine(int actors) const { return Sum(learner) + other_ranks * Sum(rank) + actors * Sum(actor); }
  // The same without what lies on devices, of those of the two that have any.
  int64_t Host(int actors, bool learner_has_devices, bool actors_have_devices) const {
    return Machine(actors) - (learner_has_devices ? OfDevice(learner) + other_ranks * OfDevice(rank) : 0) -
           (actors_have_devices ? actors * OfDevice(actor) : 0);
  }
};

// `config` with its model's height, width, micro_batch and so on; `model` may be another than config.model.path.
// InvalidArgument for a size that the model cannot do.
absl::StatusOr<MemoryPlan> PlanMemory(const v1::RunConfig& config, const ModelSizes& model, const ThreadBudget& budget,
                                      bool has_bf16_kernels);

// What fits into `memory` bytes with `actors` beside the learner: no more blocks computed again than need be, then as
// many rows in a micro-batch as the configuration asks for, then as many threads. nullopt: nothing does.
struct TrainChoice {
  int checkpointed_blocks = 0;
  int micro_batch = 1;
  int threads = 1;

  bool operator==(const TrainChoice&) const = default;
};
absl::StatusOr<std::optional<TrainChoice>> ChooseWhatFits(const v1::RunConfig& config, const ModelSizes& model,
                                                          ThreadBudget budget, bool has_bf16_kernels, int actors,
                                                          int64_t memory);

}  // namespace flowawr
