// The gradient engine of one process: a fixed set of threads on the CPU, or one thread for each of its devices.
//
// Rows are cut into chunks of at most `micro_batch` rows of one group. Chunks are computed side by side and added up as
// learner/tree_sum.h does it, so that the bits depend on `micro_batch` and the batch, not on who computes what and when.
#pragma once

#include <ATen/core/Tensor.h>

#include <atomic>
#include <map>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "common/nn/lora_adapter.h"
#include "common/sd3/transformer.h"
#include "learner/algorithm/algorithm.h"
#include "learner/gradient_engine.h"
#include "learner/gradient_plan.h"

namespace flowawr {

// Of a computation, for other threads to watch.
struct GradientProgress {
  std::atomic<size_t> chunks = 0;       // that are done
  std::atomic<int64_t> longest_ms = 0;  // that one of them took; where nothing is done yet, 0
};

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
  // Of Compute(), a part: nodes lie where they were computed. Adds to `progress` if it is not null. The same errors; one
  // call at a time, Compute() included.
  absl::StatusOr<PartialGradient> ComputeRange(const GradientRequest& request, const GradientPlan& plan, ChunkRange range,
                                               GradientProgress* progress = nullptr);
  // FinishGradient(), with an error of the device instead of its exception.
  absl::StatusOr<BatchGradient> Finish(const GradientRequest& request, const GradientPlan& plan,
                                       const std::map<TreeNode, at::Tensor>& nodes,
                                       const std::vector<ChunkFigures>& figures) const;

  // The first of those that compute.
  at::Device device() const;

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
