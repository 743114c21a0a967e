// The gradient engine of one process: a fixed set of threads on the CPU, or one thread for each of its devices.
//
// Rows are cut into chunks of at most `micro_batch` rows of one group. Chunks are computed side by side and added up as
// learner/tree_sum.h does it, so that the bits depend on `micro_batch` and the batch, not on who computes what and when.
#pragma once

#include <ATen/core/Tensor.h>

#include <atomic>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "common/nn/lora_adapter.h"
#include "common/sd3/transformer.h"
#include "learner/algorithm/algorithm.h"
#include "learner/gradient_engine.h"
#include "learner/gradient_plan.h"

namespace flowawr {

class LocalGradientEngine final : public GradientEngine {
 public:
  struct Options {
    int threads = 0;               // on the CPU, each of which computes alone; 0: one a core
    int micro_batch = 16;          // rows of one forward and backward
    int checkpointed_blocks = 0;   // see Transformer::Forward()
    uint64_t seed = 0;             // of the run
  };
  // `transformers` are copies of one model: one on the CPU, or one on each device.
  LocalGradientEngine(std::vector<std::shared_ptr<const Transformer>> transformers,
                      std::shared_ptr<const Algorithm> algorithm, const Options& options);
  // No Compute() may be running.
  ~LocalGradientEngine() override;
  LocalGradientEngine(const LocalGradientEngine&) = delete;
  LocalGradientEngine& operator=(const LocalGradientEngine&) = delete;

  absl::StatusOr<BatchGradient> Compute(const GradientRequest& request) override;
  absl::StatusOr<std::vector<double>> LogProbDrift(const GradientRequest& request) override;

  GradientPlan Plan(const GradientRequest& request) const;
  // Of Compute(), a part: nodes lie where they were computed. Counts the chunks that are done in `computed` if it is not
  // null. The same errors; one call at a time, Compute() included.
  absl::StatusOr<PartialGradient> ComputeRange(const GradientRequest& request, const GradientPlan& plan, ChunkRange range,
                                               std::atomic<size_t>* computed = nullptr);

 private:
  class Pool;
  class Velocity;
  struct Policies;
  struct Place;
  struct Job;

  static absl::StatusOr<Policies> Bind(const Transformer& transformer, const GradientRequest& request,
                                       const at::Tensor& flat, bool wants_old);
  absl::StatusOr<std::vector<std::unique_ptr<const Place>>> Places(const GradientRequest& request,
                                                                   int checkpointed_blocks, bool wants_old,
                                                                   bool wants_gradient) const;

  const std::vector<std::shared_ptr<const Transformer>> transformers_;
  const std::shared_ptr<const Algorithm> algorithm_;
  const Options options_;
  const std::unique_ptr<Pool> pool_;
};

}  // namespace flowawr
