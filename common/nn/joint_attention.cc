#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <optional>

#include "common/nn/attention_kernels.h"
#include "common/nn/bf16_attention_kernels.h"
#include "common/nn/device_dispatch.h"
#include "common/nn/fused_ops.h"
#include "common/nn/kernel_choice.h"
#include "common/nn/parallel.h"
#include "common/nn/products.h"

namespace flowawr {
namespace {

using kernels::Bf16;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

int64_t Width(const AttentionInput& stream) { return stream.projection.size(2) / (stream.has_queries ? 3 : 2); }

template <typename T>
const T* Read(const at::Tensor& x) {
  return x.defined() ? static_cast<const T*>(x.const_data_ptr()) : nullptr;
}
template <typename T>
T* Write(at::Tensor& x) {
  return x.defined() ? static_cast<T*>(x.mutable_data_ptr()) : nullptr;
}

// A kernels::AttentionStream or kernels::Bf16AttentionStream.
template <typename Stream, typename T>
Stream StreamOf(const AttentionInput& input, int64_t batch) {
  const at::Tensor& projection = input.projection;
  if (!projection.defined()) return {};
  const int64_t width = Width(input);
  const T* data = Read<T>(projection);
  const T* keys = input.has_queries ? data + width : data;
  return {.tokens = projection.size(1),
          .q = input.has_queries ? data : nullptr,
          .k = keys,
          .v = keys + width,
          .row_stride = projection.size(2),
          .batch_stride = projection.size(0) == batch ? projection.stride(0) : 0,
          .q_norm = Read<T>(input.q_norm),
          .k_norm = Read<T>(input.k_norm)};
}

kernels::AttentionStreamGradient GradientOf(const AttentionInput& input, const at::Tensor& dout, at::Tensor& out) {
  if (!input.projection.defined()) return {};
  const int64_t width = Width(input);
  float* data = Write<float>(out);
  float* keys = input.has_queries ? data + width : data;
  return {.dout = Read<float>(dout), .dq = input.has_queries ? data : nullptr, .dk = keys, .dv = keys + width};
}

kernels::Bf16AttentionGradient Bf16GradientOf(const AttentionInput& input, const at::Tensor& out,
                                              const at::Tensor& dout, at::Tensor& gradient) {
  if (!input.projection.defined()) return {};
  const int64_t width = Width(input);
  Bf16* data = Write<Bf16>(gradient);
  Bf16* keys = input.has_queries ? data + width : data;
  return {.out = Read<Bf16>(out),
          .dout = Read<Bf16>(dout),
          .dq = input.has_queries ? data : nullptr,
          .dk = keys,
          .dv = keys + width};
}

at::Tensor OutputFor(const AttentionInput& stream, int64_t batch) {
  if (!stream.projection.defined() || !stream.has_queries) return {};
  return at::empty({batch, stream.projection.size(1), Width(stream)}, stream.projection.options());
}

int64_t BatchOf(const AttentionInput& first, const AttentionInput& second) {
  return std::max(first.projection.size(0), second.projection.defined() ? second.projection.size(0) : 1);
}

kernels::AttentionSize SizeOf(const AttentionInput& first, int64_t batch, int64_t heads) {
  return {batch, heads, Width(first) / heads, static_cast<float>(kNormEpsilon)};
}

bool IsBf16(const AttentionInput& first) { return first.projection.scalar_type() == at::kBFloat16; }

// The outputs of both streams, the second one undefined if it has no queries; and, if `log_sums` is not null, what the
// backward pass of the bfloat16 kernel needs.
variable_list KernelForward(const AttentionInput& first, const AttentionInput& second, int64_t heads,
                            at::Tensor* log_sums) {
  const int64_t batch = BatchOf(first, second);
  at::Tensor first_out = OutputFor(first, batch);
  at::Tensor second_out = OutputFor(second, batch);
  const kernels::AttentionSize size = SizeOf(first, batch, heads);
  if (!IsBf16(first)) {
    kernels::Attention(size, StreamOf<kernels::AttentionStream, float>(first, batch),
                       StreamOf<kernels::AttentionStream, float>(second, batch), Write<float>(first_out),
                       Write<float>(second_out));
    return {first_out, second_out};
  }
  if (log_sums != nullptr) {
    const int64_t queries = first_out.size(1) + (second_out.defined() ? second_out.size(1) : 0);
    *log_sums = at::empty({batch, heads, queries}, first_out.options().dtype(at::kFloat));
  }
  const kernels::Bf16AttentionOutput out{.first = Write<Bf16>(first_out),
                                         .second = Write<Bf16>(second_out),
                                         .log_sums = log_sums == nullptr ? nullptr : Write<float>(*log_sums)};
  ParallelFor(0, batch * heads, 1, [&](int64_t begin, int64_t end) {
    kernels::Bf16Attention(size, StreamOf<kernels::Bf16AttentionStream, Bf16>(first, batch),
                           StreamOf<kernels::Bf16AttentionStream, Bf16>(second, batch), begin, end, out);
  });
  return {first_out, second_out};
}

// What a backward pass needs of its forward pass.
struct Operands {
  AttentionInput first, second;
  int64_t heads = 0;
  variable_list others;  // of the one function alone
};

void KeepOperands(const Operands& operands, AutogradContext& context) {
  const auto& [first, second, heads, others] = operands;
  variable_list saved = {first.projection, first.q_norm, first.k_norm, second.projection, second.q_norm, second.k_norm};
  saved.insert(saved.end(), others.begin(), others.end());
  context.save_for_backward(std::move(saved));
  context.saved_data["heads"] = heads;
  context.saved_data["second_has_queries"] = second.has_queries;
}

Operands TakeOperands(const AutogradContext& context) {
  const variable_list saved = context.get_saved_variables();
  return {.first = {saved[0], true, saved[1], saved[2]},
          .second = {saved[3], context.saved_data.at("second_has_queries").toBool(), saved[4], saved[5]},
          .heads = context.saved_data.at("heads").toInt(),
          .others = {saved.begin() + 6, saved.end()}};  // after those of KeepOperands()
}

class AttentionFunction : public torch::autograd::Function<AttentionFunction> {
 public:
  static variable_list forward(AutogradContext* context, const at::Tensor& first_projection,
                               const std::optional<at::Tensor>& second_projection, AttentionInput first,
                               AttentionInput second, int64_t heads) {
    first.projection = first_projection;
    second.projection = second_projection.value_or(at::Tensor());
    at::Tensor log_sums;
    const variable_list out = KernelForward(first, second, heads, &log_sums);
    const bool needs_out = log_sums.defined();
    const variable_list more = {log_sums, needs_out ? out[0] : at::Tensor(), needs_out ? out[1] : at::Tensor()};
    KeepOperands({first, second, heads, more}, *context);
    return out[1].defined() ? out : variable_list{out[0]};
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto [first, second, heads, others] = TakeOperands(*context);
    const int64_t batch = BatchOf(first, second);
    const at::Tensor first_dout = gradients[0].contiguous();
    const at::Tensor second_dout = gradients.size() > 1 ? gradients[1].contiguous() : at::Tensor();
    at::Tensor first_gradient = at::empty_like(first.projection);
    at::Tensor second_gradient = second.projection.defined() ? at::empty_like(second.projection) : at::Tensor();
    const kernels::AttentionSize size = SizeOf(first, batch, heads);
    if (!IsBf16(first)) {
      kernels::AttentionBackward(size, StreamOf<kernels::AttentionStream, float>(first, batch),
                                 StreamOf<kernels::AttentionStream, float>(second, batch),
                                 GradientOf(first, first_dout, first_gradient),
                                 GradientOf(second, second_dout, second_gradient));
      return {first_gradient, second_gradient, {}, {}, {}};
    }
    const auto first_flow = Bf16GradientOf(first, others[1], first_dout, first_gradient);
    const auto second_flow = Bf16GradientOf(second, others[2], second_dout, second_gradient);
    ParallelFor(0, batch * heads, 1, [&](int64_t begin, int64_t end) {
      kernels::Bf16AttentionBackward(size, StreamOf<kernels::Bf16AttentionStream, Bf16>(first, batch),
                                     StreamOf<kernels::Bf16AttentionStream, Bf16>(second, batch), begin, end,
                                     Read<float>(others[0]), first_flow, second_flow);
    });
    return {first_gradient, second_gradient, {}, {}, {}};
  }
};

bool UseKernel(const AttentionInput& first, const AttentionInput& second, int64_t heads) {
  const at::Tensor& x = first.projection;
  const int64_t head_dim = Width(first) / heads;
  if (!x.is_cpu() || head_dim % kernels::kHeadDimMultiple != 0 || head_dim > kernels::kMaxHeadDim) return false;
  if (x.scalar_type() == at::kBFloat16) return kernels::IsChosen(kernels::Kernel::kBf16);
  const int64_t tokens = x.size(1) + (second.projection.defined() ? second.projection.size(1) : 0);
  return x.scalar_type() == at::kFloat && tokens <= kernels::kMaxAttentionTokens && at::get_num_threads() == 1 &&
         kernels::IsChosen(kernels::Kernel::kAttention);
}

// diffusers' RMSNorm: the statistics in f32, the product with the weight in the weight's type.
at::Tensor RmsNorm(const at::Tensor& x, const at::Tensor& weight) {
  if (!weight.defined()) return x;
  const at::Tensor wide = x.to(at::kFloat);
  return (wide * at::rsqrt(wide.square().mean(-1, /*keepdim=*/true) + kNormEpsilon)).to(weight.scalar_type()) * weight;
}

// Queries, keys and values of a stream, each [batch, heads, tokens, head_dim]; queries undefined where it has none.
variable_list SplitHeads(const AttentionInput& stream, int64_t batch, int64_t heads) {
  if (!stream.projection.defined()) return {{}, {}, {}};
  variable_list parts = stream.projection.expand({batch, -1, -1}).split(Width(stream), 2);
  for (at::Tensor& part : parts) part = part.unflatten(2, {heads, -1}).transpose(1, 2);
  if (!stream.has_queries) parts.insert(parts.begin(), at::Tensor());
  if (stream.has_queries) parts[0] = RmsNorm(parts[0], stream.q_norm);
  parts[1] = RmsNorm(parts[1], stream.k_norm);
  return parts;
}

at::Tensor ConcatenateTokens(const at::Tensor& first, const at::Tensor& second) {
  return second.defined() ? at::cat({first, second}, 2) : first;
}

// Queries, keys and values over the tokens of both streams.
variable_list Joined(const AttentionInput& first, const AttentionInput& second, int64_t batch, int64_t heads) {
  const variable_list a = SplitHeads(first, batch, heads);
  const variable_list b = SplitHeads(second, batch, heads);
  return {ConcatenateTokens(a[0], b[0]), ConcatenateTokens(a[1], b[1]), ConcatenateTokens(a[2], b[2])};
}

ProjectedStream ProjectedOf(const AttentionInput& input, int64_t batch) {
  if (!input.projection.defined()) return {};
  return {.projection = input.projection.const_data_ptr(),
          .tokens = input.projection.size(1),
          .batch_stride = input.projection.size(0) == batch ? input.projection.stride(0) : 0,
          .has_queries = input.has_queries,
          .q_norm = Read<void>(input.q_norm),
          .k_norm = Read<void>(input.k_norm)};
}

// Joined() by a device's kernels.
variable_list JoinedOnDevice(const DeviceKernels& kernels, const AttentionInput& first, const AttentionInput& second,
                             int64_t batch, int64_t heads) {
  const at::Tensor& x = first.projection;
  const int64_t head_dim = Width(first) / heads;
  const int64_t others = second.projection.defined() ? second.projection.size(1) : 0;
  at::Tensor q = at::empty({batch, heads, x.size(1) + (second.has_queries ? others : 0), head_dim}, x.options());
  at::Tensor k = at::empty({batch, heads, x.size(1) + others, head_dim}, x.options());
  at::Tensor v = at::empty_like(k);
  StartKernel(kernels, x.device(), &DeviceKernels::join_heads,
              JoinHeadsCall{.element = DeviceElementOf(x),
                            .size = {batch, heads, head_dim},
                            .streams = {ProjectedOf(first, batch), ProjectedOf(second, batch)},
                            .epsilon = kNormEpsilon,
                            .joint = {q.mutable_data_ptr(), k.mutable_data_ptr(), v.mutable_data_ptr()}});
  return {q, k, v};
}

// Of a gradient as LibTorch's attention gives it, whatever its strides.
StridedHeads StridesOf(const at::Tensor& heads) {
  return {heads.const_data_ptr(), heads.stride(0), heads.stride(1), heads.stride(2)};
}

// Projections have the whole batch.
class JoinFunction : public torch::autograd::Function<JoinFunction> {
 public:
  static variable_list forward(AutogradContext* context, const at::Tensor& first_projection,
                               const std::optional<at::Tensor>& second_projection, AttentionInput first,
                               AttentionInput second, int64_t heads) {
    first.projection = first_projection;
    second.projection = second_projection.value_or(at::Tensor());
    KeepOperands({first, second, heads, {}}, *context);
    return JoinedOnDevice(*DeviceKernelsFor(first.projection), first, second, BatchOf(first, second), heads);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto [first, second, heads, others] = TakeOperands(*context);
    const int64_t batch = BatchOf(first, second);
    variable_list flow;
    for (const at::Tensor& gradient : gradients)
      flow.push_back(gradient.stride(3) == 1 ? gradient : gradient.contiguous());
    at::Tensor first_gradient = at::empty_like(first.projection);
    at::Tensor second_gradient = second.projection.defined() ? at::empty_like(second.projection) : at::Tensor();
    StartKernel(*DeviceKernelsFor(first.projection), first.projection.device(), &DeviceKernels::join_heads_backward,
                JoinHeadsBackwardCall{.element = DeviceElementOf(first.projection),
                                      .size = {batch, heads, Width(first) / heads},
                                      .streams = {ProjectedOf(first, batch), ProjectedOf(second, batch)},
                                      .epsilon = kNormEpsilon,
                                      .djoint = {StridesOf(flow[0]), StridesOf(flow[1]), StridesOf(flow[2])},
                                      .dprojection = {Write<void>(first_gradient), Write<void>(second_gradient)}});
    return {first_gradient, second_gradient, {}, {}, {}};
  }
};

bool NeedsGradient(const AttentionInput& input) {
  return at::GradMode::is_enabled() && input.projection.defined() && input.projection.requires_grad();
}

// The function's results where gradients are needed. They are computed for each sample, so that projections which all
// share are repeated.
template <typename Function>
variable_list Differentiable(const AttentionInput& first, const AttentionInput& second, int64_t batch, int64_t heads) {
  const auto repeat = [batch](const at::Tensor& x) {
    return x.size(0) == batch ? x : x.expand({batch, -1, -1}).contiguous();
  };
  return Function::apply(repeat(first.projection),
                         second.projection.defined() ? std::optional(repeat(second.projection)) : std::nullopt, first,
                         second, heads);
}

// By LibTorch's attention, its operands made by the device's kernels where those save something: heads that are not
// normed and have no others beside them are read from where they are.
variable_list LibTorchAttention(const AttentionInput& first, const AttentionInput& second, int64_t heads) {
  const int64_t batch = BatchOf(first, second);
  const DeviceKernels* kernels =
      first.q_norm.defined() || second.projection.defined() ? DeviceKernelsFor(first.projection) : nullptr;
  const bool needs_gradient = NeedsGradient(first) || NeedsGradient(second);
  const variable_list joined = kernels == nullptr ? Joined(first, second, batch, heads)
                               : needs_gradient   ? Differentiable<JoinFunction>(first, second, batch, heads)
                                                  : JoinedOnDevice(*kernels, first, second, batch, heads);
  const at::Tensor out = Attention(joined[0], joined[1], joined[2]).transpose(1, 2).flatten(2);
  if (!second.projection.defined() || !second.has_queries) return {out.contiguous()};
  const int64_t first_tokens = first.projection.size(1);
  return {out.narrow(1, 0, first_tokens).contiguous(),
          out.narrow(1, first_tokens, out.size(1) - first_tokens).contiguous()};
}

variable_list Attend(const AttentionInput& first, const AttentionInput& second, int64_t heads) {
  if (!UseKernel(first, second, heads)) return LibTorchAttention(first, second, heads);
  if (!NeedsGradient(first) && !NeedsGradient(second)) return KernelForward(first, second, heads, nullptr);
  return Differentiable<AttentionFunction>(first, second, BatchOf(first, second), heads);
}

}  // namespace

at::Tensor SelfAttention(const AttentionInput& stream, int64_t heads) {
  AttentionInput none;
  none.has_queries = false;
  return Attend(stream, none, heads)[0];
}

std::pair<at::Tensor, at::Tensor> JointAttention(const AttentionInput& first, const AttentionInput& second,
                                                 int64_t heads) {
  const variable_list out = Attend(first, second, heads);
  return {out[0], out.size() > 1 ? out[1] : at::Tensor()};
}

}  // namespace flowawr
