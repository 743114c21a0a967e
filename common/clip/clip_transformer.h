// The transformer of a CLIP tower: pre-norm layers of attention and an MLP.
//
//   x += out(attention(q, k, v of norm1(x)));  x += fc2(activation(fc1(norm2(x))))
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clip/clip_config.h"
#include "common/nn/packed_linear.h"

namespace flowawr {

// Asked before every layer, which may take a tenth of a second: an error ends the computation with it.
using KeepGoing = absl::FunctionRef<absl::Status()>;
inline constexpr auto kToTheEnd = [] { return absl::OkStatus(); };

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
  ClipTransformer(const ClipTransformerConfig& config, bool is_causal) : config_(config), is_causal_(is_causal) {}

  void AddLayer(ClipLayer layer) { layers_.push_back(std::move(layer)); }

  // Of one sequence `x` [tokens, width]: what all layers make of token `wanted`, [1, width]. Where the transformer is
  // causal, that is the last token: those after it would change nothing.
  absl::StatusOr<at::Tensor> Forward(at::Tensor x, int64_t wanted, KeepGoing keep_going) const;

  at::Tensor Norm(const at::Tensor& x, const ClipNorm& norm) const;
  const ClipTransformerConfig& config() const { return config_; }

 private:
  at::Tensor Mlp(const ClipLayer& layer, const at::Tensor& x) const;
  at::Tensor Attend(const at::Tensor& qkv) const;                       // all tokens
  at::Tensor AttendOne(const at::Tensor& qkv, int64_t wanted) const;  // one token to all

  ClipTransformerConfig config_;
  bool is_causal_ = false;
  std::vector<ClipLayer> layers_;
};

}  // namespace flowawr
