#include "common/clip/clip_transformer.h"

#include <torch/types.h>

#include <utility>

#include "common/base/status.h"
#include "common/nn/fused_ops.h"
#include "common/nn/products.h"

namespace flowawr {

at::Tensor ClipTransformer::Norm(const at::Tensor& x, const ClipNorm& norm) const {
  return at::layer_norm(x, {config_.width}, norm.weight, norm.bias, config_.norm_epsilon);
}

at::Tensor ClipTransformer::Mlp(const ClipLayer& layer, const at::Tensor& x) const {
  const at::Tensor normed = Norm(x, layer.norm2);
  const at::Tensor inner = config_.activation == "gelu" ? layer.fc1.ForwardGelu(normed)
                                                        : QuickGelu(layer.fc1.Forward(normed));
  return layer.fc2.ForwardAdd(inner, x);
}

at::Tensor ClipTransformer::Attend(const at::Tensor& qkv) const {
  if (!is_causal_) return SelfAttention({.projection = qkv.unsqueeze(0)}, config_.heads)[0];
  const at::Tensor heads = qkv.view({qkv.size(0), 3, config_.heads, -1}).permute({1, 2, 0, 3}).unsqueeze(1);
  return Attention(heads[0], heads[1], heads[2], {.is_causal = true})[0].transpose(0, 1).reshape(
      {qkv.size(0), config_.width});
}

at::Tensor ClipTransformer::AttendOne(const at::Tensor& qkv, int64_t wanted) const {
  const at::Tensor heads = qkv.view({qkv.size(0), 3, config_.heads, -1}).permute({1, 2, 0, 3}).unsqueeze(1);
  return Attention(heads[0].narrow(2, wanted, 1), heads[1], heads[2]).reshape({1, config_.width});
}

absl::StatusOr<at::Tensor> ClipTransformer::Forward(at::Tensor x, int64_t wanted, KeepGoing keep_going) const {
  for (size_t i = 0; i + 1 < layers_.size(); ++i) {
    FLOWAWR_RETURN_IF_ERROR(keep_going());
    const ClipLayer& layer = layers_[i];
    x = Mlp(layer, layer.out.ForwardAdd(Attend(layer.qkv.Forward(Norm(x, layer.norm1))), x));
  }
  // Of the last layer nobody reads the other tokens.
  const ClipLayer& last = layers_.back();
  const at::Tensor attended = AttendOne(last.qkv.Forward(Norm(x, last.norm1)), wanted);
  return Mlp(last, last.out.ForwardAdd(attended, x.narrow(0, wanted, 1)));
}

}  // namespace flowawr
