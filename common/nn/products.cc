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

at::Tensor Convolution(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, int64_t stride,
                       int64_t padding) {
  const auto convolve = [&](const at::Tensor& image, const at::Tensor& filter, const at::Tensor& offset) {
    return at::conv2d(image, filter, offset, {stride, stride}, {padding, padding});
  };
  if (IsWidened(x)) return convolve(Wide(x), Wide(weight), Wide(bias)).to(at::kBFloat16);
  return convolve(x, weight, bias);
}

}  // namespace flowawr
