// The encoder half of T5 1.1: transformers' T5EncoderModel.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "common/nn/read_progress.h"
#include "common/tensor/placement.h"

namespace flowawr {

struct T5Config {
  int64_t vocab_size = 32128;
  int64_t d_model = 512;
  int64_t d_kv = 64;
  int64_t d_ff = 2048;
  int64_t num_layers = 6;
  int64_t num_heads = 8;
  int64_t relative_attention_num_buckets = 32;
  int64_t relative_attention_max_distance = 128;
  double layer_norm_epsilon = 1e-6;
  std::string activation = "relu";
  bool is_gated = false;
};

// Absent fields take transformers' defaults. InvalidArgument for another class, a field of the wrong type, an unknown
// activation, or a field that this code does not know (it might change the maths).
absl::StatusOr<T5Config> ParseT5Config(absl::string_view json, const std::string& name_for_errors);

// The bucket of each relative position, [length, length] int64: row = query, column = key. Half of the buckets are for
// keys after the query; within each half small distances have their own bucket and large ones share, logarithmically.
at::Tensor T5RelativeBuckets(int64_t length, int64_t num_buckets, int64_t max_distance);

// Frozen, immutable, thread-safe. No gradients.
class T5Encoder {
 public:
  // Reads config.json and model.safetensors (or its shards) of `folder`; the embedding may be called shared.weight or
  // encoder.embed_tokens.weight. InvalidArgument lists all that does not fit.
  static absl::StatusOr<std::unique_ptr<const T5Encoder>> Load(const std::string& folder, Placement placement,
                                                               ReadProgress progress = nullptr);

  // `ids` [B, T] int64, each below vocab_size, to the last hidden state [B, T, d_model]. Padding is attended to, as
  // StableDiffusion3Pipeline does.
  at::Tensor Forward(const at::Tensor& ids) const;

  const T5Config& config() const { return config_; }

 private:
  struct Layer {
    at::Tensor norm1, q, k, v, o, norm2, wi_0, wi_1, wo;  // wi_1 only when gated
  };
  at::Tensor Normed(const at::Tensor& weight, const at::Tensor& hidden) const;
  at::Tensor ForwardLayer(const Layer& layer, const at::Tensor& hidden, const at::Tensor& bias) const;
  // T5RelativeBuckets() where the weights are.
  at::Tensor Buckets(int64_t length) const ABSL_LOCKS_EXCLUDED(mutex_);

  T5Config config_;
  at::Tensor (*activation_)(const at::Tensor&) = nullptr;
  at::Tensor embedding_, relative_bias_, final_norm_;
  std::vector<Layer> layers_;
  mutable absl::Mutex mutex_;
  mutable at::Tensor buckets_ ABSL_GUARDED_BY(mutex_);  // of the last length: a process encodes with one
};

}  // namespace flowawr
