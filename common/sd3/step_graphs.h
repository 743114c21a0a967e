// Denoising steps that are recorded once and replayed: what a small batch waits for on a GPU is not the arithmetic of its
// steps, which are equal but for latents and sigma, but that some 1,800 operations a step are launched one by one.
//
// What is recorded is the velocity of one step, both passes where there is guidance. It reads tensors of its own, which
// latents, sigma and the batch's prompt are copied into; noise, and what the solver makes of the velocity, stay outside.
// The same operations run in the same order on the same shapes, so the velocity has the same bits.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <list>
#include <memory>

#include "absl/status/status.h"
#include "common/sd3/guidance.h"

namespace flowawr {

class DeviceGraph;

// For one thread, on one stream, which is not the default one (OwnStream), and in one autograd mode.
class StepGraphs {
 public:
  // For batches of at most `most_images`; 0, or the CPU: nothing is recorded. A device that cannot record, or fails to, is
  // told of by one line of the log, and nothing is recorded from then on. Where memory does not suffice, what was recorded
  // goes, LibTorch gives back what it keeps, and it is tried once more; if that fails too, one line says so, and only smaller
  // steps are recorded from then on. `transformer` must outlive this.
  StepGraphs(const Transformer& transformer, int most_images);
  ~StepGraphs();
  StepGraphs(const StepGraphs&) = delete;
  StepGraphs& operator=(const StepGraphs&) = delete;

  // A ConditionedTransformer of one batch: the `velocity` of Sample(). Its first evaluation at new shapes runs as ever,
  // the second is recorded, and later ones, also of later batches, replay that. It is the caller's until the next call, by
  // when what was asked of the stream must be done; latents are [images, C, H, W].
  //
  // What was recorded with another adapter goes: its weights are elsewhere. `adapter` (null: the base model), which the
  // caller keeps during the batch, is kept until then.
  std::function<at::Tensor(const at::Tensor& latents, float sigma)> VelocityOf(
      std::shared_ptr<const BoundAdapter> adapter, const PromptEmbeds& prompt, const Guidance& guidance,
      at::IntArrayRef latents);

  // How many steps are recorded just now.
  int recorded() const;

 private:
  struct Step;

  int64_t TokensOf(const ConditionedTransformer& batch, at::IntArrayRef latents) const;
  bool MayRecord(int64_t images, int64_t tokens) const;
  Step& StepFor(const ConditionedTransformer& batch, at::IntArrayRef latents);
  at::Tensor Evaluate(Step& step, const ConditionedTransformer& as_ever, const at::Tensor& latents, float sigma);
  bool Record(Step& step);
  absl::Status RecordOnce(Step& step);
  void KeepMemoryOf(Step& step);
  void GiveBackMemory();

  const Transformer& transformer_;
  int64_t most_images_;                                             // 0: nothing is recorded, or no more
  int64_t too_many_tokens_ = std::numeric_limits<int64_t>::max();  // of a step that no memory was found for
  std::shared_ptr<const BoundAdapter> adapter_;  // of all steps
  std::list<Step> steps_;                        // used last comes first
  // One that went, never replayed: memory of graphs is for others to use only as long as there is one that has it.
  std::unique_ptr<DeviceGraph> spare_;
};

}  // namespace flowawr
