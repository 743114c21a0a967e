// The gradient of one batch, computed by a fixed set of threads.
//
// Every sample of the batch is trained at a few of the rollout's own sigmas, with fresh noise; a row is one sample at
// one of them. Rows are cut into chunks of at most `train.micro_batch` rows of one group. Chunks are computed side by
// side and added up in their order, so that the bits depend on the configuration and the batch, not on the scheduling.
#pragma once

#include <ATen/core/Tensor.h>

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

// Means over all rows of the batch.
struct BatchGradient {
  at::Tensor gradient;     // [adapter size] f32: of `loss`
  double loss = 0;         // policy_loss + kl_beta kl
  double policy_loss = 0;  // the regression alone
  double kl = 0;           // mean |v_theta - v_ref|^2; 0 when kl_beta is 0, as it is not computed then
  int64_t rows = 0;        // samples x sigmas, those of skipped groups included
  // Positions in the batch, ascending, of the groups whose own loss or gradient is not finite.
  std::vector<size_t> not_finite = {};
};

class GradientWorkers {
 public:
  // Starts `train.threads` threads (0: one a core), each of which computes alone. `sigmas` are the rollout's own,
  // sampler.steps + 1 values; training draws from the first int(steps * timestep_fraction) of them, at least one.
  GradientWorkers(std::shared_ptr<const Transformer> transformer, const v1::RunConfig& config,
                  std::vector<float> sigmas);
  // No Compute() may be running.
  ~GradientWorkers();
  GradientWorkers(const GradientWorkers&) = delete;
  GradientWorkers& operator=(const GradientWorkers&) = delete;

  // The gradient with respect to `current` of update `update`. `energies` is of the same batch, in its order.
  //
  // `old_adapter(version)` is the adapter that sampled the groups of that version, or null when it equals `current` bit
  // for bit: v_old is then v_theta detached, which saves a forward pass. It is called on this thread, once a version,
  // and what it returns must live until Compute() returns. Groups that cannot move anything (all energies 0, v_old
  // equal to v_theta, no kl_beta) are not computed: their loss and gradient are exactly zero.
  //
  // Cancelled once `is_cancelled` is true, seen between two chunks; Internal, with LibTorch's message, when a
  // computation fails. One call at a time.
  absl::StatusOr<BatchGradient> Compute(uint64_t update, const std::vector<Group>& batch, const BatchEnergies& energies,
                                        const LoraAdapter& current,
                                        const std::function<const LoraAdapter*(uint64_t version)>& old_adapter,
                                        const std::atomic<bool>& is_cancelled);

 private:
  struct Job;
  class Pool;

  const std::shared_ptr<const Transformer> transformer_;
  const v1::RunConfig config_;
  const std::vector<float> sigmas_;  // those that training may draw
  const std::unique_ptr<Pool> pool_;
};

}  // namespace flowawr
