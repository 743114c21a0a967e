#include "common/sd3/guidance.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>

#include <utility>
#include <vector>

#include "common/tensor/transfer.h"

namespace flowawr {
namespace {

PromptEmbeds At(at::Device device, const PromptEmbeds& embeds) {
  if (!embeds.prompt_embeds.defined()) return embeds;
  return {MovedTo(embeds.prompt_embeds, device), MovedTo(embeds.pooled, device)};
}

// One row an image of each, one after the other.
at::Tensor Stack(const at::Tensor& negative, const at::Tensor& prompt, int64_t images) {
  std::vector<int64_t> sizes = prompt.sizes().vec();
  sizes[0] = images;
  return at::cat({negative.expand(sizes), prompt.expand(sizes)});
}

}  // namespace

ConditionedTransformer::ConditionedTransformer(const Transformer& transformer, const BoundAdapter* adapter,
                                               PromptEmbeds prompt, Guidance guidance)
    : transformer_(transformer),
      adapter_(adapter),
      prompt_(At(transformer.placement().device, prompt)),
      guidance_{.scale = guidance.scale, .negative = At(transformer.placement().device, guidance.negative)} {}

at::Tensor ConditionedTransformer::operator()(const at::Tensor& latents, float sigma) const {
  return (*this)(latents, at::full({1}, sigma, latents.options().dtype(at::kFloat)));
}

at::Tensor ConditionedTransformer::operator()(const at::Tensor& latents, const at::Tensor& sigma) const {
  TransformerInput input{.latents = latents,
                         .sigma = sigma,
                         .prompt_embeds = prompt_.prompt_embeds,
                         .pooled_prompt_embeds = prompt_.pooled};
  if (guidance_.scale == 1) return transformer_.Forward(input, adapter_);
  const int64_t images = latents.size(0);
  input.latents = at::cat({latents, latents});
  input.prompt_embeds = Stack(guidance_.negative.prompt_embeds, prompt_.prompt_embeds, images);
  input.pooled_prompt_embeds = Stack(guidance_.negative.pooled, prompt_.pooled, images);
  const std::vector<at::Tensor> velocity = transformer_.Forward(input, adapter_).split(images);
  return velocity[0] + (velocity[1] - velocity[0]) * guidance_.scale;
}

}  // namespace flowawr
