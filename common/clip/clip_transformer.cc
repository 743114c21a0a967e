#include "common/clip/clip_transformer.h"

#include <torch/types.h>

#include "common/base/status.h"
#include "common/nn/fused_ops.h"
#include "common/nn/products.h"

namespace flowawr {

at::Tensor ClipTransformer::Norm(const at::Tensor& x, const ClipNorm& norm) const {
  return at::layer_norm(x, {config_.width}, norm.weight, norm.bias, config_.norm_epsilon);
}

at::Tensor ClipTransformer::Mlp(const ClipLayer& layer, const at::Tensor& x) const {
  const at::Tensor normed = Norm(x, layer.norm2);
  const at::Tensor inner =
      config_.activation == "gelu" ? layer.fc1.ForwardGelu(normed) : QuickGelu(layer.fc1.Forward(normed));
  return layer.fc2.ForwardAdd(inner, x);
}

at::Tensor ClipTransformer::AttendFirst(const at::Tensor& qkv, int64_t sequences) const {
  const at::Tensor heads =
      qkv.view({sequences, qkv.size(0) / sequences, 3, config_.heads, -1}).permute({2, 0, 3, 1, 4});
  return Attention(heads[0].narrow(2, 0, 1), heads[1], heads[2]).reshape({sequences, config_.width});
}

absl::StatusOr<at::Tensor> ClipTransformer::Forward(at::Tensor x, int64_t sequences, KeepGoing keep_going) const {
  const auto by_sequence = [sequences](const at::Tensor& rows) { return rows.view({sequences, -1, rows.size(1)}); };
  for (size_t i = 0; i + 1 < layers_.size(); ++i) {
    FLOWAWR_RETURN_IF_ERROR(keep_going());
    const ClipLayer& layer = layers_[i];
    const at::Tensor qkv = layer.qkv.Forward(Norm(x, layer.norm1));
    const at::Tensor attended =
        SelfAttention({.projection = by_sequence(qkv)}, config_.heads).flatten(0, 1);
    x = Mlp(layer, layer.out.ForwardAdd(attended, x));
  }
  // Of the last layer nobody reads the other tokens.
  const ClipLayer& last = layers_.back();
  const at::Tensor attended = AttendFirst(last.qkv.Forward(Norm(x, last.norm1)), sequences);
  return Mlp(last, last.out.ForwardAdd(attended, by_sequence(x).select(1, 0).contiguous()));
}

}  // namespace flowawr
