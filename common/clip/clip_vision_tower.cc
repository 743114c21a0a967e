#include "common/clip/clip_vision_tower.h"

#include <torch/types.h>

#include "common/base/status.h"
#include "common/nn/products.h"

namespace flowawr {

absl::StatusOr<at::Tensor> ClipVisionTower::Forward(const at::Tensor& pixels, KeepGoing keep_going) const {
  const at::NoGradGuard no_grad;
  TORCH_CHECK(pixels.sizes() == at::IntArrayRef({3, config.image_size, config.image_size}), "pixels of ",
              config.image_size, " x ", config.image_size, " are expected");
  const at::Tensor patches = Convolution(pixels.to(patch_embedding.scalar_type()).unsqueeze(0), patch_embedding, {},
                                         config.patch_size, /*padding=*/0);
  const at::Tensor tokens = at::cat({class_embedding, patches.flatten(2)[0].t()}) + position_embedding;
  FLOWAWR_ASSIGN_OR_RETURN(const at::Tensor state,
                           transformer.Forward(transformer.Norm(tokens, norm_before), keep_going));
  return AffineProduct(transformer.Norm(state, norm_after), projection);
}

}  // namespace flowawr
