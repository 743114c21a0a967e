#include "common/nn/lora_linear.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <optional>

#include "common/nn/linear_kernels.h"

namespace flowawr {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

std::optional<at::Tensor> IfDefined(const at::Tensor& x) { return x.defined() ? std::optional(x) : std::nullopt; }

at::Tensor Rows(const at::Tensor& x) { return x.reshape({-1, x.size(-1)}); }

// The stacked rows [parts * rank, ...] or [widths, ...] that belong to one part.
struct PartView {
  int64_t a_row = 0;
  int64_t b_row = 0;
};

// One megabyte: the second-level cache of a core.
constexpr int64_t kMaxKernelElements = int64_t{1} << 18;

// LibTorch multiplies few rows by kernels that it picks by their number and that of the threads. So samples of fewer
// rows than this are multiplied one by one: the bits of a sample do not depend on its batch.
constexpr int64_t kFewRows = 16;

bool IsForKernel(const at::Tensor& matrix) {
  return matrix.defined() && matrix.is_cpu() && matrix.scalar_type() == at::kFloat && matrix.is_contiguous() &&
         matrix.numel() <= kMaxKernelElements && matrix.size(1) % kernels::kColumnMultiple == 0;
}

// a [..., inner] times the row-major b [inner, columns], plus the bias, if defined.
at::Tensor KernelMatMul(const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias) {
  std::vector<int64_t> shape = a.sizes().vec();
  shape.back() = b.size(1);
  const at::Tensor contiguous = a.contiguous();
  at::Tensor c = at::empty(shape, a.options());
  kernels::MatMul(c.numel() / b.size(1), b.size(1), b.size(0), contiguous.const_data_ptr<float>(),
                  b.const_data_ptr<float>(), bias.defined() ? bias.const_data_ptr<float>() : nullptr,
                  c.mutable_data_ptr<float>());
  return c;
}

// The weight of a layer as it is used: with the adapter folded in, if it is.
struct UsedWeight {
  at::Tensor weight;
  at::Tensor transposed;
};

UsedWeight WeightOf(const FrozenLinear& linear, const LinearLora& lora) {
  if (lora.folded_weight.defined()) return {lora.folded_weight, lora.folded_transposed_weight};
  return {linear.weight, linear.transposed_weight};
}

at::Tensor BaseForward(const at::Tensor& x, const UsedWeight& used, const at::Tensor& bias) {
  if (used.transposed.defined() && at::get_num_threads() == 1) return KernelMatMul(x, used.transposed, bias);
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = used.weight.size(0);
  const int64_t rows_of_sample = x.dim() > 2 ? x.size(-2) : 1;
  if (x.size(0) == 1 || rows_of_sample >= kFewRows) return at::addmm(bias, Rows(x), used.weight.t()).view(shape);
  at::Tensor y = at::empty(shape, x.options());
  for (int64_t sample = 0; sample < x.size(0); ++sample) {
    at::Tensor rows = y[sample].view({-1, y.size(-1)});
    at::addmm_out(rows, bias, Rows(x[sample]), used.weight.t());
  }
  return y;
}

at::Tensor BaseBackward(const at::Tensor& dy, const at::Tensor& weight) {
  if (IsForKernel(weight) && at::get_num_threads() == 1) return KernelMatMul(dy, weight, {});
  return dy.mm(weight);
}

// Calls `visit(part, PartView)` for every part.
template <typename Visit>
void ForEachPart(const std::vector<LoraPart>& parts, int64_t rank, Visit visit) {
  PartView view;
  for (const LoraPart& part : parts) {
    visit(part, view);
    view.a_row += rank;
    view.b_row += part.width;
  }
}

// y += scale * (x A^T) B^T, part by part, summed in f32.
void AddLora(const at::Tensor& x, const LinearLora& lora, at::Tensor& y) {
  const int64_t rank = lora.B.size(1);
  const at::Tensor h = Rows(x).to(at::kFloat).mm(lora.A.t());
  at::Tensor y_rows = y.view({-1, y.size(-1)});
  ForEachPart(lora.parts, rank, [&](const LoraPart& part, PartView at) {
    at::Tensor columns = y_rows.narrow(1, part.column, part.width);
    const at::Tensor sum = at::addmm(columns.to(at::kFloat), h.narrow(1, at.a_row, rank),
                                     lora.B.narrow(0, at.b_row, part.width).t(), 1, lora.scale);
    columns.copy_(sum);
  });
}

class LoraLinearFunction : public torch::autograd::Function<LoraLinearFunction> {
 public:
  // A and B are those of `lora`, absent where it has none: autograd looks at the arguments alone.
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const std::optional<at::Tensor>& A,
                            const std::optional<at::Tensor>& B, const FrozenLinear& linear, const LinearLora& lora) {
    const bool is_folded = lora.folded_weight.defined();
    const UsedWeight used = WeightOf(linear, lora);
    at::Tensor y = BaseForward(x, used, linear.bias);
    if (!is_folded && A.has_value()) AddLora(x, lora, y);
    context->save_for_backward({x, A.value_or(at::Tensor()), B.value_or(at::Tensor()), used.weight});
    context->saved_data["scale"] = lora.scale;
    context->saved_data["is_folded"] = is_folded;
    std::vector<int64_t> columns;
    std::vector<int64_t> widths;
    for (const LoraPart& part : lora.parts) {
      columns.push_back(part.column);
      widths.push_back(part.width);
    }
    context->saved_data["columns"] = columns;
    context->saved_data["widths"] = widths;
    return y;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor& x = saved[0];
    const at::Tensor& A = saved[1];
    const at::Tensor& B = saved[2];
    const at::Tensor& weight = saved[3];
    const at::Tensor dy = Rows(gradients[0]).contiguous();
    at::Tensor dx;
    if (context->needs_input_grad(0)) dx = BaseBackward(dy, weight);
    if (!A.defined()) return {dx.view(x.sizes()), {}, {}, {}, {}};

    const double scale = context->saved_data["scale"].toDouble();
    const int64_t rank = B.size(1);
    const at::Tensor x_rows = Rows(x).to(at::kFloat);
    const at::Tensor dy_wide = dy.to(at::kFloat);
    const at::Tensor h = x_rows.mm(A.t());
    at::Tensor dh = at::empty_like(h);
    at::Tensor dB = at::empty_like(B);
    std::vector<LoraPart> parts;
    const std::vector<int64_t> columns = context->saved_data["columns"].toIntVector();
    const std::vector<int64_t> widths = context->saved_data["widths"].toIntVector();
    for (size_t i = 0; i < columns.size(); ++i) parts.push_back({columns[i], widths[i]});
    ForEachPart(parts, rank, [&](const LoraPart& part, PartView at) {
      const at::Tensor dy_part = dy_wide.narrow(1, part.column, part.width);
      at::Tensor dh_part = dh.narrow(1, at.a_row, rank);
      at::Tensor dB_part = dB.narrow(0, at.b_row, part.width);
      at::addmm_out(dh_part, dh_part, dy_part, B.narrow(0, at.b_row, part.width), /*beta=*/0, /*alpha=*/scale);
      at::addmm_out(dB_part, dB_part, dy_part.t(), h.narrow(1, at.a_row, rank), /*beta=*/0, /*alpha=*/scale);
    });
    const at::Tensor dA = dh.t().mm(x_rows);
    if (dx.defined()) {
      if (!context->saved_data["is_folded"].toBool()) dx.add_(dh.mm(A));
      dx = dx.view(x.sizes());
    }
    return {dx, dA, dB, {}, {}};
  }
};

}  // namespace

at::Tensor Linear(const FrozenLinear& linear, const at::Tensor& x, const LinearLora* lora) {
  static const LinearLora kNone;
  const LinearLora& used = lora == nullptr ? kNone : *lora;
  const bool trains = used.A.defined() && used.A.requires_grad();
  if (at::GradMode::is_enabled() && (x.requires_grad() || trains)) {
    return LoraLinearFunction::apply(x, IfDefined(used.A), IfDefined(used.B), linear, used);
  }
  at::Tensor y = BaseForward(x, WeightOf(linear, used), linear.bias);
  if (!used.folded_weight.defined() && used.A.defined()) AddLora(x, used, y);
  return y;
}

void FoldLora(const FrozenLinear& linear, LinearLora& lora) {
  const at::NoGradGuard no_grad;
  at::Tensor weight = linear.weight.to(at::kFloat, /*non_blocking=*/false, /*copy=*/true);
  const int64_t rank = lora.B.size(1);
  ForEachPart(lora.parts, rank, [&](const LoraPart& part, PartView at) {
    weight.narrow(0, part.column, part.width)
        .addmm_(lora.B.narrow(0, at.b_row, part.width), lora.A.narrow(0, at.a_row, rank), 1, lora.scale);
  });
  lora.folded_weight = weight.to(linear.weight.scalar_type());
  lora.folded_transposed_weight = TransposeIfSmall(lora.folded_weight);
}

at::Tensor TransposeIfSmall(const at::Tensor& weight) {
  const at::Tensor transposed = weight.numel() <= kMaxKernelElements ? weight.t().contiguous() : at::Tensor();
  return IsForKernel(transposed) ? transposed : at::Tensor();
}

}  // namespace flowawr
