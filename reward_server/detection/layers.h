// The small layers that every part of Mask2Former is made of, and how they are taken from a weights file.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "common/base/keep_going.h"
#include "common/nn/products.h"
#include "common/nn/weight_binder.h"

namespace flowawr {

struct Linear {
  at::Tensor weight, bias;  // [out, in], [out] or undefined

  at::Tensor operator()(const at::Tensor& x) const { return AffineProduct(x, weight, bias); }
};

struct LayerNorm {
  at::Tensor weight, bias;
  double epsilon = 1e-5;

  at::Tensor operator()(const at::Tensor& x) const {
    return at::layer_norm(x, weight.sizes(), weight, bias, epsilon);
  }
};

// GroupNorm of [batch, height, width, channels], contiguous. On CPU by common/nn's moments: LibTorch's norm with the
// channels last subtracts squares in f32, which loses two of seven digits where a group's mean is not near 0.
struct GroupNorm {
  at::Tensor weight, bias;
  int64_t groups = 1;

  at::Tensor operator()(const at::Tensor& x) const;
};

// The MLP of a transformer with ReLU between.
struct FeedForward {
  Linear fc1, fc2;

  at::Tensor operator()(const at::Tensor& x) const {
    at::Tensor hidden = fc1(x);
    return fc2(hidden.relu_());
  }
};

// Takes layers by their published names; what is missing is named by WeightBinder::Finish().
class LayerBinder {
 public:
  explicit LayerBinder(WeightBinder& binder) : binder_(binder) {}

  at::Tensor Take(const std::string& name, at::IntArrayRef shape) { return binder_.Take(name, shape); }

  Linear TakeLinear(const std::string& name, int64_t in, int64_t out, bool has_bias = true) {
    return {Take(name + ".weight", {out, in}), has_bias ? Take(name + ".bias", {out}) : at::Tensor()};
  }
  // A convolution of 1 x 1, as the linear layer over channels that it is.
  Linear TakePointwise(const std::string& name, int64_t in, int64_t out, bool has_bias = true) {
    Linear linear{Take(name + ".weight", {out, in, 1, 1}), has_bias ? Take(name + ".bias", {out}) : at::Tensor()};
    if (linear.weight.defined()) linear.weight = linear.weight.view({out, in});
    return linear;
  }
  LayerNorm TakeLayerNorm(const std::string& name, int64_t dim, double epsilon = 1e-5) {
    return {Take(name + ".weight", {dim}), Take(name + ".bias", {dim}), epsilon};
  }
  GroupNorm TakeGroupNorm(const std::string& name, int64_t dim, int64_t groups) {
    return {Take(name + ".weight", {dim}), Take(name + ".bias", {dim}), groups};
  }
  // Layers of the same input as one, their outputs side by side.
  Linear TakeStacked(const std::vector<WeightBinder::Part>& layers, int64_t in, bool has_bias = true) {
    std::vector<WeightBinder::Part> weights, biases;
    for (const WeightBinder::Part& layer : layers) {
      weights.push_back({layer.name + ".weight", layer.rows});
      biases.push_back({layer.name + ".bias", layer.rows});
    }
    return {binder_.TakeStacked(weights, {in}).Joined(),
            has_bias ? binder_.TakeStacked(biases, {}).Joined() : at::Tensor()};
  }

  bool Has(const std::string& name) const { return binder_.Has(name); }

 private:
  WeightBinder& binder_;
};

}  // namespace flowawr
