// The transformer of a CLIP vision tower: pre-norm layers of attention and an MLP.
//
//   x += out(attention(q, k, v of norm1(x)));  x += fc2(activation(fc1(norm2(x))))
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/keep_going.h"
#include "common/clip/clip_config.h"
#include "common/nn/packed_linear.h"

namespace flowawr {

struct ClipNorm {
  at::Tensor weight, bias;
};

struct ClipLayer {
  ClipNorm norm1, norm2;
  PackedLinear qkv, out, fc1, fc2;  // qkv: queries, keys and values, stacked
};

// Immutable once its layers are filled in; then thread-safe. No gradients.
class ClipTransformer {
 public:
  ClipTransformer() = default;
  explicit ClipTransformer(ClipTransformerConfig config) : config_(std::move(config)) {}

  void AddLayer(ClipLayer layer) { layers_.push_back(std::move(layer)); }

  // Of `sequences` of equally many tokens, one after the other in `x` [sequences * tokens, width]: what all layers make
  // of each one's first token, [sequences, width].
  absl::StatusOr<at::Tensor> Forward(at::Tensor x, int64_t sequences, KeepGoing keep_going) const;

  at::Tensor Norm(const at::Tensor& x, const ClipNorm& norm) const;
  const ClipTransformerConfig& config() const { return config_; }

 private:
  at::Tensor Mlp(const ClipLayer& layer, const at::Tensor& x) const;
  at::Tensor AttendFirst(const at::Tensor& qkv, int64_t sequences) const;  // the first token to all of its sequence

  ClipTransformerConfig config_;
  std::vector<ClipLayer> layers_;
};

}  // namespace flowawr
