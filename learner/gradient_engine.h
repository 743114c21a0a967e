// Computes the gradient of one optimiser step: what the run loop sees of threads, devices and ranks.
#pragma once

#include <ATen/core/Tensor.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/nn/lora_adapter.h"
#include "learner/group.h"

namespace flowawr {

// Of one step. Gradient and loss are means over all its rows, those of groups that teach nothing included, which are
// exactly zero. Figures are means over the rows that were computed: what the algorithm reports, e.g. policy_loss and kl;
// `old_distance`, mean (v_theta - v_old)^2 where v_old is another policy's; `loss/sigma_3`, the loss at the rollout's sigma
// of that number. Those of no row are absent.
struct BatchGradient {
  at::Tensor gradient;  // [adapter size] f32: of `loss`
  double loss = 0;
  std::map<std::string, double> figures = {};
  int64_t rows = 0;
  // Positions in the batch, ascending, of the groups whose own loss or gradient is not finite.
  std::vector<size_t> not_finite = {};
  bool teaches = false;  // some group was computed; otherwise loss and gradient are exactly zero
};

struct GradientRequest {
  uint64_t update = 0;
  const std::vector<Group>& batch;
  at::Tensor signals;                   // [groups, samples] f32, of the batch, in its order
  const std::vector<bool>& is_all_equal;  // by group, as BatchSignals
  // The samples of each group that this step trains on, ascending; empty: all of all groups.
  std::vector<std::vector<int64_t>> samples = {};
  const LoraAdapter& current;
  // The adapter that sampled the groups of that version, or null when it equals `current` bit for bit. Called on the
  // caller's thread, perhaps several times a version; what it returns must live until Compute() returns.
  std::function<const LoraAdapter*(uint64_t version)> old_adapter;
  const std::atomic<bool>& is_cancelled;
};

class GradientEngine {
 public:
  virtual ~GradientEngine() = default;

  // Cancelled once `is_cancelled` is true, seen between two chunks; Internal, with LibTorch's message, when a
  // computation fails. One call at a time.
  virtual absl::StatusOr<BatchGradient> Compute(const GradientRequest& request) = 0;

  // By how much each group's log-probabilities differ from those that the policy that sampled it gives here: of one row
  // of each, drawn by seed, update and group. Empty when the method has none. The same errors.
  virtual absl::StatusOr<std::vector<double>> LogProbDrift(const GradientRequest& request) = 0;
};

}  // namespace flowawr
