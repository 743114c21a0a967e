#include "common/nn/products.h"

#include <ATen/core/grad_mode.h>
#include <torch/types.h>

#include <algorithm>
#include <vector>

#include "common/nn/kernel_choice.h"

namespace flowawr {
namespace {

at::Tensor Wide(const at::Tensor& x) { return x.defined() ? x.to(at::kFloat) : x; }

bool NeedsGradient(const at::Tensor& x) { return x.defined() && x.requires_grad(); }

// Some outputs at a time.
at::Tensor WidenedAffineProduct(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const at::Tensor wide = Wide(x.reshape({x.numel() / x.size(-1), x.size(-1)}));
  at::Tensor y = at::empty({wide.size(0), weight.size(0)}, x.options());
  const int64_t outputs = WidenedOutputs(weight.size(1));
  for (int64_t begin = 0; begin < weight.size(0); begin += outputs) {
    const int64_t count = std::min(outputs, weight.size(0) - begin);
    const auto some = [&](const at::Tensor& of) { return of.defined() ? Wide(of.narrow(0, begin, count)) : of; };
    y.narrow(1, begin, count).copy_(at::linear(wide, some(weight), some(bias)));
  }
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = weight.size(0);
  return y.view(shape);
}

}  // namespace

bool IsWidened(const at::Tensor& x) {
  return x.is_cpu() && x.scalar_type() == at::kBFloat16 && kernels::WidensBf16Products();
}

at::Tensor MatrixProduct(const at::Tensor& a, const at::Tensor& b) {
  return IsWidened(a) ? Wide(a).mm(Wide(b)).to(at::kBFloat16) : a.mm(b);
}

at::Tensor AffineProduct(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  if (!IsWidened(x)) return at::linear(x, weight, bias);
  if (at::GradMode::is_enabled() && (NeedsGradient(x) || NeedsGradient(weight) || NeedsGradient(bias)))
    return at::linear(Wide(x), Wide(weight), Wide(bias)).to(at::kBFloat16);
  return WidenedAffineProduct(x, weight, bias);
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
