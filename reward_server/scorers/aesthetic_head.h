// LAION's aesthetic predictor: linear layers, without activations between them, on CLIP's embedding of a picture.
//
// A folder with model.safetensors, whose names are those of the published .pth: layers.0, .2, .4, .6 and .7, each with
// weight [out, in] and bias [out]; the numbers between are the dropout of training. Widths, as published:
// 768, 1024, 128, 64, 16, 1. Source: christophschuhmann/improved-aesthetic-predictor, simple_inference.py.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace flowawr {

// Immutable, thread-safe.
class AestheticHead {
 public:
  // NotFound, with what to do; or InvalidArgument that lists what does not fit, such as an input not `dim` wide.
  static absl::StatusOr<std::unique_ptr<const AestheticHead>> Load(const std::string& folder, int64_t dim);

  // `embeds` [n, dim] f32, each of length 1: scores [n], mostly between 1 and 10.
  at::Tensor Forward(const at::Tensor& embeds) const;

  const std::string& weights_sha256() const { return weights_sha256_; }
  size_t memory_bytes() const;

 private:
  struct Layer {
    at::Tensor weight, bias;
  };
  AestheticHead() = default;

  std::vector<Layer> layers_;
  std::string weights_sha256_;
};

}  // namespace flowawr
