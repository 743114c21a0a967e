#include "common/nn/fused_ops.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "common/nn/elementwise_kernels.h"

namespace flowawr {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Above this many elements of a sample several threads do better with LibTorch's parallel operations. Of a sample, not
// of its batch: both round differently.
constexpr int64_t kSingleThreadElements = int64_t{1} << 16;

bool UseKernel(const at::Tensor& x) {
  return x.is_cpu() && x.scalar_type() == at::kFloat &&
         (at::get_num_threads() == 1 || x.numel() <= kSingleThreadElements * x.size(0));
}

bool NeedsGradient(const at::Tensor& x) { return at::GradMode::is_enabled() && x.requires_grad(); }

kernels::Tokens SizeOf(const at::Tensor& x, int64_t batch) { return {batch, x.size(1), x.size(2)}; }

kernels::PerSample PerSampleOf(const at::Tensor& modulation) {
  TORCH_CHECK(modulation.stride(1) == 1, "a modulation vector must be contiguous in its last dimension");
  return {modulation.const_data_ptr<float>(), modulation.size(0) == 1 ? 0 : modulation.stride(0)};
}

int64_t BatchStride(const at::Tensor& x) { return x.size(0) == 1 ? 0 : x.stride(0); }

// The sample that all share, repeated: kernels that compute gradients take one row of x for each row of the output.
at::Tensor WithBatch(const at::Tensor& x, int64_t batch) {
  return x.size(0) == batch ? x : x.expand({batch, -1, -1}).contiguous();
}

at::Tensor LayerNormModulateForward(const at::Tensor& x, const at::Tensor& shift, const at::Tensor& scale) {
  const int64_t batch = std::max(x.size(0), shift.size(0));
  at::Tensor out = at::empty({batch, x.size(1), x.size(2)}, x.options());
  kernels::LayerNormModulate(SizeOf(x, batch), x.const_data_ptr<float>(), BatchStride(x), PerSampleOf(shift),
                             PerSampleOf(scale), kNormEpsilon, out.mutable_data_ptr<float>());
  return out;
}

class LayerNormModulateFunction : public torch::autograd::Function<LayerNormModulateFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& shift,
                            const at::Tensor& scale) {
    context->save_for_backward({x, scale});
    return LayerNormModulateForward(x, shift, scale);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor& x = saved[0];
    const at::Tensor dout = gradients[0].contiguous();
    at::Tensor dx = at::empty_like(x);
    kernels::LayerNormModulateBackward(SizeOf(x, x.size(0)), x.const_data_ptr<float>(), PerSampleOf(saved[1]),
                                       kNormEpsilon, dout.const_data_ptr<float>(), dx.mutable_data_ptr<float>());
    return {dx, at::Tensor(), at::Tensor()};
  }
};

at::Tensor GatedResidualForward(const at::Tensor& x, const at::Tensor& gate, const at::Tensor& y) {
  at::Tensor out = at::empty_like(y);
  kernels::GatedResidual(SizeOf(y, y.size(0)), x.const_data_ptr<float>(), BatchStride(x), PerSampleOf(gate),
                         y.const_data_ptr<float>(), out.mutable_data_ptr<float>());
  return out;
}

class GatedResidualFunction : public torch::autograd::Function<GatedResidualFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& gate,
                            const at::Tensor& y) {
    context->save_for_backward({gate});
    return GatedResidualForward(x, gate, y);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const at::Tensor gate = context->get_saved_variables()[0];
    const at::Tensor dout = gradients[0].contiguous();
    at::Tensor dy = at::empty_like(dout);
    kernels::Gate(SizeOf(dout, dout.size(0)), PerSampleOf(gate), dout.const_data_ptr<float>(),
                  dy.mutable_data_ptr<float>());
    return {dout, at::Tensor(), dy};
  }
};

class GeluTanhFunction : public torch::autograd::Function<GeluTanhFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x) {
    context->save_for_backward({x});
    at::Tensor out = at::empty_like(x);
    kernels::GeluTanh(x.numel(), x.const_data_ptr<float>(), out.mutable_data_ptr<float>());
    return out;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const at::Tensor x = context->get_saved_variables()[0];
    const at::Tensor dout = gradients[0].contiguous();
    at::Tensor dx = at::empty_like(x);
    kernels::GeluTanhBackward(x.numel(), x.const_data_ptr<float>(), dout.const_data_ptr<float>(),
                              dx.mutable_data_ptr<float>());
    return {dx};
  }
};

}  // namespace

at::Tensor LayerNormModulate(const at::Tensor& x, const at::Tensor& shift, const at::Tensor& scale) {
  if (!UseKernel(x)) {
    const at::Tensor normalised = at::layer_norm(x, {x.size(-1)}, {}, {}, kNormEpsilon);
    return at::addcmul(shift.unsqueeze(1), normalised, 1 + scale.unsqueeze(1));
  }
  if (!NeedsGradient(x)) return LayerNormModulateForward(x, shift, scale);
  return LayerNormModulateFunction::apply(WithBatch(x, std::max(x.size(0), shift.size(0))), shift, scale);
}

at::Tensor GatedResidual(const at::Tensor& x, const at::Tensor& gate, const at::Tensor& y) {
  const int64_t batch = std::max({x.size(0), gate.size(0), y.size(0)});
  if (!UseKernel(x)) return at::addcmul(x, gate.unsqueeze(1), y);
  const at::Tensor full_y = WithBatch(y, batch);
  if (!NeedsGradient(x) && !NeedsGradient(y)) return GatedResidualForward(x, gate, full_y);
  return GatedResidualFunction::apply(WithBatch(x, batch), gate, full_y);
}

at::Tensor GeluTanh(at::Tensor x) {
  if (!UseKernel(x)) return at::gelu(x, "tanh");
  if (NeedsGradient(x)) return GeluTanhFunction::apply(x);
  kernels::GeluTanh(x.numel(), x.const_data_ptr<float>(), x.mutable_data_ptr<float>());
  return x;
}

}  // namespace flowawr
