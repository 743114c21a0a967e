// The gradient engine of one process: a fixed set of threads.
//
// Rows are cut into chunks of at most `micro_batch` rows of one group. Chunks are computed side by side and added up in
// their order, so that the bits depend on the options and the batch, not on the scheduling.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "common/nn/lora_adapter.h"
#include "common/sd3/transformer.h"
#include "learner/algorithm/algorithm.h"
#include "learner/gradient_engine.h"

namespace flowawr {

class LocalGradientEngine final : public GradientEngine {
 public:
  struct Options {
    int threads = 0;               // each of which computes alone; 0: one a core
    int micro_batch = 16;          // rows of one forward and backward
    int checkpointed_blocks = 0;   // see Transformer::Forward()
    uint64_t seed = 0;             // of the run
  };
  LocalGradientEngine(std::shared_ptr<const Transformer> transformer, std::shared_ptr<const Algorithm> algorithm,
                      const Options& options);
  // No Compute() may be running.
  ~LocalGradientEngine() override;
  LocalGradientEngine(const LocalGradientEngine&) = delete;
  LocalGradientEngine& operator=(const LocalGradientEngine&) = delete;

  absl::StatusOr<BatchGradient> Compute(const GradientRequest& request) override;
  absl::StatusOr<std::vector<double>> LogProbDrift(const GradientRequest& request) override;

 private:
  class Pool;
  class Velocity;
  struct Policies;
  struct Job;

  absl::StatusOr<Policies> Bind(const GradientRequest& request, const at::Tensor& leaf, bool wants_old) const;

  const std::shared_ptr<const Transformer> transformer_;
  const std::shared_ptr<const Algorithm> algorithm_;
  const Options options_;
  const std::unique_ptr<Pool> pool_;
};

}  // namespace flowawr
