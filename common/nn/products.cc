#include "common/nn/products.h"

#include <torch/types.h>

#include "common/nn/kernel_choice.h"

namespace flowawr {
namespace {

at::Tensor Wide(const at::Tensor& x) { return x.defined() ? x.to(at::kFloat) : x; }

}  // namespace

bool IsWidened(const at::Tensor& x) {
  return x.is_cpu() && x.scalar_type() == at::kBFloat16 && kernels::WidensBf16Products();
}

at::Tensor MatrixProduct(const at::Tensor& a, const at::Tensor& b) {
  return IsWidened(a) ? Wide(a).mm(Wide(b)).to(at::kBFloat16) : a.mm(b);
}

at::Tensor AffineProduct(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  if (IsWidened(x)) return at::linear(Wide(x), Wide(weight), Wide(bias)).to(at::kBFloat16);
  return at::linear(x, weight, bias);
}

// The forward pass is as fast either way, the backward one is not.
at::Tensor Attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionOptions& options) {
  const auto attend = [&](const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values,
                          const std::optional<at::Tensor>& bias) {
    return at::scaled_dot_product_attention(queries, keys, values, bias, /*dropout_p=*/0.0, options.is_causal,
                                            options.scale);
  };
  if (!IsWidened(q)) return attend(q, k, v, options.bias);
  const std::optional<at::Tensor> bias = options.bias ? std::optional(Wide(*options.bias)) : std::nullopt;
  return attend(Wide(q), Wide(k), Wide(v), bias).to(at::kBFloat16);
}

at::Tensor Convolution(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, int64_t stride,
                       int64_t padding) {
  const auto convolve = [&](const at::Tensor& image, const at::Tensor& filter, const at::Tensor& offset) {
    return at::conv2d(image, filter, offset, {stride, stride}, {padding, padding});
  };
  if (IsWidened(x)) return convolve(Wide(x), Wide(weight), Wide(bias)).to(at::kBFloat16);
  return convolve(x, weight, bias);
}

}  // namespace flowawr
