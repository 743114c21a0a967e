// The gradient of one batch, computed by several threads with bits that do not depend on how they were scheduled.
//
// A row is one sample at one sigma. Rows are cut into chunks of at most train.micro_batch rows of one group; the cut
// depends on the configuration alone. Threads take chunks in order, each chunk has a gradient of its own, and the
// gradients are added in chunk order: the same bits for any number of threads.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "common/nn/lora_adapter.h"
#include "common/sd3/transformer.h"
#include "flowawr/v1/config.pb.h"
#include "learner/flowawr.h"
#include "learner/group.h"

namespace flowawr {

struct BatchGradient {
  at::Tensor gradient;  // [size] f32: of the loss's mean over all rows
  double loss = 0, kl = 0;  // means over all rows
  int64_t rows = 0;
};

// Compute() is called by one thread at a time. Every thread it starts computes with one intra-op thread.
class GradientWorkers {
 public:
  // `sigmas` are those of the rollout, steps + 1 values, the noisiest first.
  GradientWorkers(std::shared_ptr<const Transformer> transformer, const v1::RunConfig& config, std::vector<float> sigmas);

  // `old_adapter(version)` is what sampled the groups of that version, or null when it equals `current` bit for bit:
  // v_old is then v_theta and costs no forward. Cancelled when `is_cancelled` becomes true between two chunks.
  absl::StatusOr<BatchGradient> Compute(uint64_t update, const std::vector<Group>& batch, const BatchEnergies& energies,
                                        const LoraAdapter& current,
                                        const std::function<const LoraAdapter*(uint64_t version)>& old_adapter,
                                        const std::atomic<bool>& is_cancelled) const;

 private:
  struct Chunk;
  std::vector<Chunk> MakeChunks(uint64_t update, const std::vector<Group>& batch) const;
  // Adds nothing: returns the gradient and the sums of one chunk. `total_rows` scales the loss.
  BatchGradient ComputeChunk(uint64_t update, const Chunk& chunk, const Group& group, const at::Tensor& energy,
                             const LoraAdapter& current, const BoundAdapter* old_adapter, int64_t total_rows) const;

  const std::shared_ptr<const Transformer> transformer_;
  const uint64_t seed_;
  const v1::TrainConfig train_;
  const double kl_beta_;
  const std::vector<float> sigmas_;  // those that training may draw
};

}  // namespace flowawr
