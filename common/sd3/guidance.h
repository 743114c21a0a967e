// Classifier-free guidance, as StableDiffusion3Pipeline does it: the velocity of the prompt is led away from that of a
// negative prompt.
#pragma once

#include <ATen/core/Tensor.h>

#include "common/sd3/pipeline.h"

namespace flowawr {

struct Guidance {
  double scale = 1;       // 1: none, and it costs none
  PromptEmbeds negative;  // needed otherwise: one row, or one an image
};

// A transformer with all its inputs but latents and sigma: the `velocity` of Sample(). Thread-safe.
//
// With guidance v = v_negative + scale (v_prompt - v_negative), both from one batch of twice the images whose first
// half is the negative prompt's.
class ConditionedTransformer {
 public:
  // `prompt` has one row an image, or one that all share. `transformer` and `adapter` (null: the base model) must
  // outlive this.
  ConditionedTransformer(const Transformer& transformer, const BoundAdapter* adapter, PromptEmbeds prompt,
                         Guidance guidance = {});

  // Latents [B, C, H, W] f32 to the velocity, likewise.
  at::Tensor operator()(const at::Tensor& latents, float sigma) const;
  // `sigma` is [1] f32 where the latents are.
  at::Tensor operator()(const at::Tensor& latents, const at::Tensor& sigma) const;

  // As given, where the transformer is.
  const PromptEmbeds& prompt() const { return prompt_; }
  const Guidance& guidance() const { return guidance_; }

 private:
  const Transformer& transformer_;
  const BoundAdapter* adapter_;
  const PromptEmbeds prompt_;
  const Guidance guidance_;
};

}  // namespace flowawr
