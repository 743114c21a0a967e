#include "common/clip/clip_towers.h"

#include <torch/types.h>

#include <algorithm>

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
                           transformer.Forward(transformer.Norm(tokens, norm_before), /*wanted=*/0, keep_going));
  return AffineProduct(transformer.Norm(state, norm_after), projection);
}

int64_t ClipTextTower::PooledToken(absl::Span<const int64_t> ids) const {
  const auto found = config.eos_token_id == 2 ? std::max_element(ids.begin(), ids.end())
                                              : std::find(ids.begin(), ids.end(), config.eos_token_id);
  return found == ids.end() ? 0 : found - ids.begin();
}

absl::StatusOr<at::Tensor> ClipTextTower::Forward(absl::Span<const int64_t> ids, KeepGoing keep_going) const {
  const at::NoGradGuard no_grad;
  const int64_t pooled = PooledToken(ids), length = pooled + 1;
  TORCH_CHECK(length <= config.max_tokens, "a text of ", length, " tokens; this tower takes ", config.max_tokens);
  const at::Tensor index = at::tensor(at::IntArrayRef(ids.data(), length));
  const at::Tensor tokens = at::embedding(token_embedding, index) + position_embedding.narrow(0, 0, length);
  FLOWAWR_ASSIGN_OR_RETURN(const at::Tensor state, transformer.Forward(tokens, pooled, keep_going));
  return AffineProduct(transformer.Norm(state, final_norm), projection);
}

}  // namespace flowawr
