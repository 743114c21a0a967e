#include "common/nn/fused_ops.h"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "common/nn/device_dispatch.h"
#include "common/nn/elementwise_kernels.h"
#include "common/nn/parallel.h"

namespace flowawr {
namespace {

using kernels::Bf16;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Elements that a thread should have to itself, or starting it costs more than it saves.
constexpr int64_t kGrain = int64_t{1} << 16;

bool IsForHostKernels(const at::Tensor& x) {
  return x.is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16);
}

bool UseKernel(const at::Tensor& x) { return IsForHostKernels(x) || DeviceKernelsFor(x) != nullptr; }

bool NeedsGradient(const at::Tensor& x) { return at::GradMode::is_enabled() && x.requires_grad(); }

template <typename T>
const T* Read(const at::Tensor& x) {
  return static_cast<const T*>(x.const_data_ptr());
}
template <typename T>
T* Write(at::Tensor& x) {
  return static_cast<T*>(x.mutable_data_ptr());
}

// Calls `visit` with a null pointer of the element type of `x`.
template <typename Visit>
void ForElementType(const at::Tensor& x, Visit visit) {
  if (x.scalar_type() == at::kBFloat16) {
    visit(static_cast<Bf16*>(nullptr));
  } else {
    visit(static_cast<float*>(nullptr));
  }
}

kernels::Tokens SizeOf(const at::Tensor& x) { return {x.size(1), x.size(2)}; }

// Shares the rows of `x` out among threads.
template <typename Visit>
void ForRows(const at::Tensor& x, Visit visit) {
  ParallelFor(0, x.size(0) * x.size(1), std::max<int64_t>(1, kGrain / x.size(2)), visit);
}

TokenRows RowsOf(const at::Tensor& x) { return {x.size(0), x.size(1), x.size(2)}; }

SampleVectors VectorsOf(const at::Tensor& modulation) {
  TORCH_CHECK(modulation.stride(1) == 1, "a modulation vector must be contiguous in its last dimension");
  return {modulation.const_data_ptr(), modulation.size(0) == 1 ? 0 : modulation.stride(0)};
}

template <typename T>
kernels::PerSample<T> PerSampleOf(const at::Tensor& modulation) {
  const SampleVectors vectors = VectorsOf(modulation);
  return {static_cast<const T*>(vectors.values), vectors.batch_stride};
}

int64_t BatchStride(const at::Tensor& x) { return x.size(0) == 1 ? 0 : x.stride(0); }

// The sample that all share, repeated: kernels that compute gradients take one row of x for each row of the output.
at::Tensor WithBatch(const at::Tensor& x, int64_t batch) {
  return x.size(0) == batch ? x : x.expand({batch, -1, -1}).contiguous();
}

at::Tensor LayerNormModulateForward(const at::Tensor& x, const at::Tensor& shift, const at::Tensor& scale) {
  at::Tensor out = at::empty({std::max(x.size(0), shift.size(0)), x.size(1), x.size(2)}, x.options());
  if (const DeviceKernels* kernels = DeviceKernelsFor(x)) {
    StartKernel(*kernels, x.device(), &DeviceKernels::layer_norm_modulate,
                LayerNormModulateCall{.element = DeviceElementOf(x),
                                      .size = RowsOf(out),
                                      .x = x.const_data_ptr(),
                                      .x_batch_stride = BatchStride(x),
                                      .shift = VectorsOf(shift),
                                      .scale = VectorsOf(scale),
                                      .epsilon = kNormEpsilon,
                                      .out = out.mutable_data_ptr()});
    return out;
  }
  ForElementType(x, [&]<typename T>(T*) {
    ForRows(out, [&](int64_t begin, int64_t end) {
      kernels::LayerNormModulate(SizeOf(x), begin, end, Read<T>(x), BatchStride(x), PerSampleOf<T>(shift),
                                 PerSampleOf<T>(scale), kNormEpsilon, Write<T>(out));
    });
  });
  return out;
}

at::Tensor LayerNormModulateGradient(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& dout) {
  at::Tensor dx = at::empty_like(x);
  if (const DeviceKernels* kernels = DeviceKernelsFor(x)) {
    StartKernel(*kernels, x.device(), &DeviceKernels::layer_norm_modulate_backward,
                LayerNormModulateBackwardCall{.element = DeviceElementOf(x),
                                              .size = RowsOf(x),
                                              .x = x.const_data_ptr(),
                                              .scale = VectorsOf(scale),
                                              .epsilon = kNormEpsilon,
                                              .dout = dout.const_data_ptr(),
                                              .dx = dx.mutable_data_ptr()});
    return dx;
  }
  ForElementType(x, [&]<typename T>(T*) {
    ForRows(x, [&](int64_t begin, int64_t end) {
      kernels::LayerNormModulateBackward(SizeOf(x), begin, end, Read<T>(x), PerSampleOf<T>(scale), kNormEpsilon,
                                         Read<T>(dout), Write<T>(dx));
    });
  });
  return dx;
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
    return {LayerNormModulateGradient(saved[0], saved[1], gradients[0].contiguous()), at::Tensor(), at::Tensor()};
  }
};

// x + gate * y into `out`, which may be `y`; an undefined x counts as 0.
void GatedResidualInto(const at::Tensor& x, const at::Tensor& gate, const at::Tensor& y, at::Tensor& out) {
  if (const DeviceKernels* kernels = DeviceKernelsFor(y)) {
    StartKernel(*kernels, y.device(), &DeviceKernels::gated_residual,
                GatedResidualCall{.element = DeviceElementOf(y),
                                  .size = RowsOf(y),
                                  .x = x.defined() ? x.const_data_ptr() : nullptr,
                                  .x_batch_stride = x.defined() ? BatchStride(x) : 0,
                                  .gate = VectorsOf(gate),
                                  .y = y.const_data_ptr(),
                                  .out = out.mutable_data_ptr()});
    return;
  }
  ForElementType(y, [&]<typename T>(T*) {
    ForRows(y, [&](int64_t begin, int64_t end) {
      if (x.defined()) {
        kernels::GatedResidual(SizeOf(y), begin, end, Read<T>(x), BatchStride(x), PerSampleOf<T>(gate), Read<T>(y),
                               Write<T>(out));
      } else {
        kernels::Gate(SizeOf(y), begin, end, PerSampleOf<T>(gate), Read<T>(y), Write<T>(out));
      }
    });
  });
}

class GatedResidualFunction : public torch::autograd::Function<GatedResidualFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& gate,
                            const at::Tensor& y) {
    context->save_for_backward({gate});
    at::Tensor out = at::empty_like(y);
    GatedResidualInto(x, gate, y, out);
    return out;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const at::Tensor gate = context->get_saved_variables()[0];
    const at::Tensor dout = gradients[0].contiguous();
    at::Tensor dy = at::empty_like(dout);
    GatedResidualInto({}, gate, dout, dy);
    return {dout, at::Tensor(), dy};
  }
};

// Into `out`, which may be `x`.
void GeluTanhInto(const at::Tensor& x, at::Tensor& out) {
  if (const DeviceKernels* kernels = DeviceKernelsFor(x)) {
    StartKernel(
        *kernels, x.device(), &DeviceKernels::gelu_tanh,
        GeluTanhCall{
            .element = DeviceElementOf(x), .count = x.numel(), .x = x.const_data_ptr(), .out = out.mutable_data_ptr()});
    return;
  }
  ForElementType(x, [&]<typename T>(T*) {
    ParallelFor(0, x.numel(), kGrain,
                [&](int64_t begin, int64_t end) { kernels::GeluTanh(begin, end, Read<T>(x), Write<T>(out)); });
  });
}

at::Tensor GeluTanhGradient(const at::Tensor& x, const at::Tensor& dout) {
  at::Tensor dx = at::empty_like(x);
  if (const DeviceKernels* kernels = DeviceKernelsFor(x)) {
    StartKernel(*kernels, x.device(), &DeviceKernels::gelu_tanh_backward,
                GeluTanhBackwardCall{.element = DeviceElementOf(x),
                                     .count = x.numel(),
                                     .x = x.const_data_ptr(),
                                     .dout = dout.const_data_ptr(),
                                     .dx = dx.mutable_data_ptr()});
    return dx;
  }
  ForElementType(x, [&]<typename T>(T*) {
    ParallelFor(0, x.numel(), kGrain, [&](int64_t begin, int64_t end) {
      kernels::GeluTanhBackward(begin, end, Read<T>(x), Read<T>(dout), Write<T>(dx));
    });
  });
  return dx;
}

class GeluTanhFunction : public torch::autograd::Function<GeluTanhFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x) {
    context->save_for_backward({x});
    at::Tensor out = at::empty_like(x);
    GeluTanhInto(x, out);
    return out;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    return {GeluTanhGradient(context->get_saved_variables()[0], gradients[0].contiguous())};
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

at::Tensor GatedResidual(const at::Tensor& x, const at::Tensor& gate, at::Tensor y) {
  const int64_t batch = std::max({x.size(0), gate.size(0), y.size(0)});
  if (!UseKernel(x)) return at::addcmul(x, gate.unsqueeze(1), y);
  at::Tensor full_y = WithBatch(y, batch);
  if (NeedsGradient(x) || NeedsGradient(y)) return GatedResidualFunction::apply(WithBatch(x, batch), gate, full_y);
  GatedResidualInto(x, gate, full_y, full_y);
  return full_y;
}

at::Tensor GeluTanh(at::Tensor x) {
  if (!UseKernel(x)) return at::gelu(x, "tanh");
  if (NeedsGradient(x)) return GeluTanhFunction::apply(x);
  GeluTanhInto(x, x);
  return x;
}

at::Tensor QuickGelu(at::Tensor x) {
  if (!IsForHostKernels(x) || NeedsGradient(x)) return x * at::sigmoid(1.702 * x);
  ForElementType(x, [&]<typename T>(T*) {
    ParallelFor(0, x.numel(), kGrain,
                [&](int64_t begin, int64_t end) { kernels::QuickGelu(begin, end, Read<T>(x), Write<T>(x)); });
  });
  return x;
}

}  // namespace flowawr
