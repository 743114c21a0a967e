#include "common/clip/clip_vision_tower.h"

#include <torch/types.h>

#include "common/base/status.h"
#include "common/nn/products.h"

namespace flowawr {

absl::StatusOr<at::Tensor> ClipVisionTower::Forward(const at::Tensor& pixels, KeepGoing keep_going) const {
  const at::NoGradGuard no_grad;
  const int64_t pictures = pixels.size(0), width = class_embedding.size(1);
  TORCH_CHECK(pixels.sizes() == at::IntArrayRef({pictures, 3, config.image_size, config.image_size}), "pixels of ",
              config.image_size, " x ", config.image_size, " are expected");
  const at::Tensor patches =
      Convolution(pixels.to(patch_embedding.scalar_type()), patch_embedding, {}, config.patch_size, /*padding=*/0);
  const at::Tensor tokens =
      at::cat({class_embedding.expand({pictures, 1, width}), patches.flatten(2).transpose(1, 2)}, /*dim=*/1) +
      position_embedding;
  FLOWAWR_ASSIGN_OR_RETURN(
      const at::Tensor state,
      transformer.Forward(transformer.Norm(tokens.flatten(0, 1), norm_before), pictures, keep_going));
  return AffineProduct(transformer.Norm(state, norm_after), projection);
}

}  // namespace flowawr
