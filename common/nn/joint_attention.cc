#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <optional>

#include "common/nn/attention_kernels.h"
#include "common/nn/fused_ops.h"

namespace flowawr {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

int64_t Width(const AttentionInput& stream) { return stream.projection.size(2) / (stream.has_queries ? 3 : 2); }

const float* WeightsOf(const at::Tensor& norm) { return norm.defined() ? norm.const_data_ptr<float>() : nullptr; }

kernels::AttentionStream StreamOf(const AttentionInput& input, int64_t batch) {
  const at::Tensor& projection = input.projection;
  if (!projection.defined()) return {};
  const int64_t width = Width(input);
  const float* data = projection.const_data_ptr<float>();
  const float* keys = input.has_queries ? data + width : data;
  return {.tokens = projection.size(1),
          .q = input.has_queries ? data : nullptr,
          .k = keys,
          .v = keys + width,
          .row_stride = projection.size(2),
          .batch_stride = projection.size(0) == batch ? projection.stride(0) : 0,
          .q_norm = WeightsOf(input.q_norm),
          .k_norm = WeightsOf(input.k_norm)};
}

kernels::AttentionStreamGradient GradientOf(const AttentionInput& input, const at::Tensor& dout, at::Tensor& out) {
  if (!input.projection.defined()) return {};
  const int64_t width = Width(input);
  float* data = out.mutable_data_ptr<float>();
  float* keys = input.has_queries ? data + width : data;
  return {.dout = dout.defined() ? dout.const_data_ptr<float>() : nullptr,
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

variable_list KernelForward(const AttentionInput& first, const AttentionInput& second, int64_t heads) {
  const int64_t batch = BatchOf(first, second);
  at::Tensor first_out = OutputFor(first, batch);
  at::Tensor second_out = OutputFor(second, batch);
  kernels::Attention(SizeOf(first, batch, heads), StreamOf(first, batch), StreamOf(second, batch),
                     first_out.mutable_data_ptr<float>(),
                     second_out.defined() ? second_out.mutable_data_ptr<float>() : nullptr);
  if (second_out.defined()) return {first_out, second_out};
  return {first_out};
}

class AttentionFunction : public torch::autograd::Function<AttentionFunction> {
 public:
  static variable_list forward(AutogradContext* context, const at::Tensor& first_projection,
                               const std::optional<at::Tensor>& second_projection, AttentionInput first,
                               AttentionInput second, int64_t heads) {
    first.projection = first_projection;
    second.projection = second_projection.value_or(at::Tensor());
    context->save_for_backward(
        {first_projection, second.projection, first.q_norm, first.k_norm, second.q_norm, second.k_norm});
    context->saved_data["heads"] = heads;
    context->saved_data["second_has_queries"] = second.has_queries;
    return KernelForward(first, second, heads);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const AttentionInput first{saved[0], true, saved[2], saved[3]};
    const AttentionInput second{saved[1], context->saved_data["second_has_queries"].toBool(), saved[4], saved[5]};
    const int64_t heads = context->saved_data["heads"].toInt();
    const int64_t batch = BatchOf(first, second);
    const at::Tensor first_dout = gradients[0].contiguous();
    const at::Tensor second_dout = gradients.size() > 1 ? gradients[1].contiguous() : at::Tensor();
    at::Tensor first_gradient = at::empty_like(first.projection);
    at::Tensor second_gradient = second.projection.defined() ? at::empty_like(second.projection) : at::Tensor();
    kernels::AttentionBackward(SizeOf(first, batch, heads), StreamOf(first, batch), StreamOf(second, batch),
                               GradientOf(first, first_dout, first_gradient),
                               GradientOf(second, second_dout, second_gradient));
    return {first_gradient, second_gradient, {}, {}, {}};
  }
};

bool UseKernel(const AttentionInput& first, const AttentionInput& second, int64_t heads) {
  const at::Tensor& x = first.projection;
  const int64_t head_dim = Width(first) / heads;
  const int64_t tokens = x.size(1) + (second.projection.defined() ? second.projection.size(1) : 0);
  return x.is_cpu() && x.scalar_type() == at::kFloat && tokens <= kernels::kMaxAttentionTokens &&
         head_dim % kernels::kHeadDimMultiple == 0 && head_dim <= kernels::kMaxHeadDim && at::get_num_threads() == 1;
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

variable_list LibTorchAttention(const AttentionInput& first, const AttentionInput& second, int64_t heads) {
  const int64_t batch = BatchOf(first, second);
  const variable_list a = SplitHeads(first, batch, heads);
  const variable_list b = SplitHeads(second, batch, heads);
  const at::Tensor out = at::scaled_dot_product_attention(ConcatenateTokens(a[0], b[0]), ConcatenateTokens(a[1], b[1]),
                                                          ConcatenateTokens(a[2], b[2]))
                             .transpose(1, 2)
                             .flatten(2);
  if (!b[0].defined()) return {out.contiguous()};
  const int64_t first_tokens = first.projection.size(1);
  return {out.narrow(1, 0, first_tokens).contiguous(),
          out.narrow(1, first_tokens, out.size(1) - first_tokens).contiguous()};
}

variable_list Attend(AttentionInput first, AttentionInput second, int64_t heads) {
  if (!UseKernel(first, second, heads)) return LibTorchAttention(first, second, heads);
  const bool needs_gradient =
      at::GradMode::is_enabled() &&
      (first.projection.requires_grad() || (second.projection.defined() && second.projection.requires_grad()));
  if (!needs_gradient) return KernelForward(first, second, heads);
  const int64_t batch = BatchOf(first, second);
  const auto repeat = [batch](const at::Tensor& x) {
    return !x.defined() || x.size(0) == batch ? x : x.expand({batch, -1, -1}).contiguous();
  };
  const at::Tensor second_projection = repeat(second.projection);
  return AttentionFunction::apply(repeat(first.projection),
                                  second_projection.defined() ? std::optional(second_projection) : std::nullopt, first,
                                  second, heads);
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
