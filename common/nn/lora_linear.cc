#include "common/nn/lora_linear.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <optional>

#include "common/nn/bf16_lora_kernels.h"
#include "common/nn/kernel_choice.h"
#include "common/nn/linear_kernels.h"
#include "common/nn/parallel.h"
#include "common/nn/products.h"

namespace flowawr {
namespace {

using kernels::Bf16;
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
// A few rows need a weight once from memory, so that it may be larger; what bounds it is the copy.
constexpr int64_t kMaxFewRowsElements = int64_t{1} << 21;

// LibTorch multiplies few rows by kernels that it picks by their number and that of the threads, on some processors any
// number of rows. Such samples are multiplied one by one: the bits of a sample do not depend on its batch. That is
// promised of the CPU alone.
constexpr int64_t kFewRows = 16;

bool MayMultiplyTogether(const at::Tensor& x, int64_t rows_of_sample) {
  if (!x.is_cpu()) return true;
  return rows_of_sample >= kFewRows && kernels::LibTorchMultipliesRowsAlike(x.scalar_type() == at::kBFloat16);
}

bool UseMatMulKernel() { return kernels::IsChosen(kernels::Kernel::kMatMul) && at::get_num_threads() == 1; }

bool IsForKernel(const at::Tensor& matrix, int64_t max_elements = kMaxKernelElements) {
  return matrix.defined() && matrix.is_cpu() && matrix.scalar_type() == at::kFloat && matrix.is_contiguous() &&
         matrix.numel() <= max_elements && matrix.size(1) % kernels::kColumnMultiple == 0;
}

// a [..., inner] times the row-major b [inner, columns], plus the bias, if defined.
at::Tensor KernelMatMul(const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias) {
  std::vector<int64_t> shape = a.sizes().vec();
  shape.back() = b.size(1);
  const at::Tensor contiguous = a.contiguous();
  at::Tensor c = at::empty(shape, a.options());
  const int64_t inner = b.size(0), columns = b.size(1);
  kernels::MatMul(c.numel() / columns, columns, inner, {contiguous.const_data_ptr<float>(), inner},
                  b.const_data_ptr<float>(), columns, bias.defined() ? bias.const_data_ptr<float>() : nullptr,
                  c.mutable_data_ptr<float>(), columns);
  return c;
}

// The weight of a layer as it is used: with the adapter folded in, if it is.
struct UsedWeight {
  StackedWeight weight;
  at::Tensor transposed;
};

UsedWeight WeightOf(const FrozenLinear& linear, const LinearLora& lora) {
  if (lora.folded_weight.defined()) return {lora.folded_weight, lora.folded_transposed_weight};
  return {linear.weight, linear.transposed_weight};
}

at::Tensor EmptyOutput(const at::Tensor& x, const UsedWeight& used) {
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = used.weight.rows();
  return at::empty(shape, x.options());
}

// y := x W^T + b, each part of W into its columns.
void MultiplyInto(const at::Tensor& y, const at::Tensor& x, const StackedWeight& weight, const at::Tensor& bias) {
  int64_t column = 0;
  for (const at::Tensor& part : weight.parts()) {
    const int64_t width = part.size(0);
    at::Tensor columns = y.narrow(1, column, width);
    at::addmm_out(columns, bias.narrow(0, column, width), x, part.t());
    column += width;
  }
}

// BaseForward in f32 for a bfloat16 layer, some of its outputs at a time: the copy of the weight stays small.
at::Tensor WidenedForward(const at::Tensor& x, const UsedWeight& used, const at::Tensor& bias) {
  const at::Tensor wide = Rows(x.to(at::kFloat)), y = EmptyOutput(x, used), y_rows = y.view({-1, y.size(-1)});
  const int64_t rows = wide.size(0);
  const int64_t rows_at_once = MayMultiplyTogether(wide, rows / x.size(0)) ? rows : rows / x.size(0);
  const int64_t outputs = WidenedOutputs(wide.size(1));
  int64_t column = 0;
  for (const at::Tensor& part : used.weight.parts()) {
    for (const at::Tensor& some : part.split(outputs)) {
      const int64_t width = some.size(0);
      const at::Tensor weight = some.to(at::kFloat).t(), offset = bias.narrow(0, column, width).to(at::kFloat);
      at::Tensor out = at::empty({rows, width}, wide.options());
      for (int64_t row = 0; row < rows; row += rows_at_once) {
        at::Tensor out_rows = out.narrow(0, row, rows_at_once);
        at::addmm_out(out_rows, offset, wide.narrow(0, row, rows_at_once), weight);
      }
      y_rows.narrow(1, column, width).copy_(out);
      column += width;
    }
  }
  return y;
}

at::Tensor BaseForward(const at::Tensor& x, const UsedWeight& used, const at::Tensor& bias) {
  if (used.transposed.defined() && UseMatMulKernel()) return KernelMatMul(x, used.transposed, bias);
  if (IsWidened(x)) return WidenedForward(x, used, bias);
  at::Tensor y = EmptyOutput(x, used);
  const int64_t rows_of_sample = x.dim() > 2 ? x.size(-2) : 1;
  if (x.size(0) == 1 || MayMultiplyTogether(x, rows_of_sample)) {
    MultiplyInto(y.view({-1, y.size(-1)}), Rows(x), used.weight, bias);
    return y;
  }
  for (int64_t sample = 0; sample < x.size(0); ++sample)
    MultiplyInto(y[sample].view({-1, y.size(-1)}), Rows(x[sample]), used.weight, bias);
  return y;
}

// One product even if the weight is in parts, so that the sum over all of them is rounded once.
at::Tensor BaseBackward(const at::Tensor& dy, const StackedWeight& weight) {
  const at::Tensor joined = weight.Joined();
  if (IsForKernel(joined) && UseMatMulKernel()) return KernelMatMul(dy, joined, {});
  return MatrixProduct(dy, joined);
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

const Bf16* Read(const at::Tensor& x) { return static_cast<const Bf16*>(x.const_data_ptr()); }
Bf16* Write(const at::Tensor& x) { return static_cast<Bf16*>(x.mutable_data_ptr()); }

// Rows that make a thread worth its start in a thin product.
constexpr int64_t kRowGrain = 64;

// The adapter's part of a layer: in bfloat16, by kernels on the CPU and by LibTorch elsewhere, or in f32 by LibTorch.
//
// y += scale * (x A^T) B^T, part by part, unless only the gradient is wanted. Returns what the backward pass wants back
// as `h`; undefined in f32.
at::Tensor AddLora(const at::Tensor& x, const LinearLora& lora, at::Tensor& y, bool needs_value = true) {
  at::Tensor y_rows = y.view({-1, y.size(-1)});
  if (lora.packed != nullptr) {
    const kernels::Bf16Lora& packed = *lora.packed;
    const at::Tensor x_rows = Rows(x).contiguous();
    const int64_t columns = y.size(-1);
    at::Tensor h = at::empty({x_rows.size(0), packed.stacked_rank()}, x.options());
    ParallelFor(0, h.size(0), kRowGrain, [&](int64_t begin, int64_t end) {
      Bf16* h_rows = Write(h) + begin * packed.stacked_rank();
      packed.Down(end - begin, Read(x_rows) + begin * packed.in(), h_rows);
      if (needs_value) packed.Up(end - begin, h_rows, Write(y_rows) + begin * columns, columns);
    });
    return h;
  }
  const int64_t rank = lora.B.size(1);
  if (lora.rounded_A.defined()) {
    const at::Tensor x_rows = Rows(x);
    at::Tensor h = at::empty({x_rows.size(0), lora.rounded_A.size(0)}, x.options());
    at::addmm_out(h, h, x_rows, lora.rounded_A.t(), /*beta=*/0, /*alpha=*/lora.scale);
    if (!needs_value) return h;
    ForEachPart(lora.parts, rank, [&](const LoraPart& part, PartView at) {
      y_rows.narrow(1, part.column, part.width)
          .addmm_(h.narrow(1, at.a_row, rank), lora.rounded_B.narrow(0, at.b_row, part.width).t());
    });
    return h;
  }
  if (!needs_value) return {};
  const at::Tensor h = Rows(x).to(at::kFloat).mm(lora.A.t());
  ForEachPart(lora.parts, rank, [&](const LoraPart& part, PartView at) {
    at::Tensor columns = y_rows.narrow(1, part.column, part.width);
    const at::Tensor sum = at::addmm(columns.to(at::kFloat), h.narrow(1, at.a_row, rank),
                                     lora.B.narrow(0, at.b_row, part.width).t(), 1, lora.scale);
    columns.copy_(sum);
  });
  return {};
}

struct LoraGradients {
  at::Tensor A, B;
};

// Of the adapter's part of a layer; adds its part of dx to `dx`, if that is defined.
LoraGradients Bf16LoraBackward(const at::Tensor& x, const at::Tensor& h, const at::Tensor& dy,
                               const kernels::Bf16Lora& lora, at::Tensor& dx) {
  const int64_t rows = dy.size(0), columns = dy.size(1), rank = lora.rank(), stacked = lora.stacked_rank();
  const at::Tensor x_rows = Rows(x).contiguous();
  const at::Tensor dh = at::empty({rows, stacked}, dy.options());
  ParallelFor(0, rows, kRowGrain, [&](int64_t begin, int64_t end) {
    Bf16* dh_rows = Write(dh) + begin * stacked;
    lora.DownGradient(end - begin, Read(dy) + begin * columns, columns, dh_rows);
    if (dx.defined()) lora.UpGradient(end - begin, dh_rows, Write(dx) + begin * lora.in());
  });

  // A multiple of the kernels' column block, so that no thread ends on a narrow one.
  constexpr int64_t kBlock = 64;
  const auto for_columns = [](int64_t first, int64_t width, auto visit) {
    ParallelFor(0, (width + kBlock - 1) / kBlock, 4, [&](int64_t begin, int64_t end) {
      visit(first + begin * kBlock, first + std::min(width, end * kBlock));
    });
  };
  int64_t width = 0;
  for (const kernels::Bf16LoraPart& part : lora.parts()) width += part.width;
  LoraGradients gradients{at::empty({stacked, lora.in()}, dy.options().dtype(at::kFloat)),
                          at::empty({width, rank}, dy.options().dtype(at::kFloat))};
  for_columns(0, lora.in(), [&](int64_t begin, int64_t end) {
    kernels::Bf16OuterProduct(rows, Read(dh), stacked, stacked, Read(x_rows), lora.in(), begin, end,
                              /*transposes=*/false, gradients.A.mutable_data_ptr<float>(), lora.in());
  });
  int64_t a_row = 0, b_row = 0;
  for (const kernels::Bf16LoraPart& part : lora.parts()) {
    for_columns(part.column, part.width, [&](int64_t begin, int64_t end) {
      kernels::Bf16OuterProduct(rows, Read(h) + a_row, stacked, rank, Read(dy), columns, begin, end,
                                /*transposes=*/true,
                                gradients.B.mutable_data_ptr<float>() + (b_row - part.column) * rank, rank);
    });
    a_row += rank;
    b_row += part.width;
  }
  return gradients;
}

// The same of rounded matrices by LibTorch. The products that are gradients of A and B keep the f32 of their sums.
LoraGradients RoundedLoraBackward(const at::Tensor& x, const at::Tensor& h, const at::Tensor& dy,
                                  const at::Tensor& A, const at::Tensor& B, const std::vector<LoraPart>& parts,
                                  double scale, at::Tensor& dx) {
  const int64_t rank = B.size(1);
  const at::Tensor dh = at::empty_like(h);
  LoraGradients gradients{at::empty(A.sizes(), A.options().dtype(at::kFloat)),
                          at::empty(B.sizes(), B.options().dtype(at::kFloat))};
  ForEachPart(parts, rank, [&](const LoraPart& part, PartView at) {
    const at::Tensor dy_part = dy.narrow(1, part.column, part.width);
    at::Tensor dh_part = dh.narrow(1, at.a_row, rank);
    at::Tensor dB_part = gradients.B.narrow(0, at.b_row, part.width);
    at::addmm_out(dh_part, dh_part, dy_part, B.narrow(0, at.b_row, part.width), /*beta=*/0, /*alpha=*/scale);
    at::mm_out(dB_part, dy_part.t(), h.narrow(1, at.a_row, rank), at::kFloat);
  });
  at::mm_out(gradients.A, dh.t(), Rows(x), at::kFloat);
  if (dx.defined()) dx.addmm_(dh, A);
  return gradients;
}

LoraGradients FloatLoraBackward(const at::Tensor& x, const at::Tensor& A, const at::Tensor& B, const at::Tensor& dy,
                                const std::vector<LoraPart>& parts, double scale, bool is_folded, at::Tensor& dx) {
  const int64_t rank = B.size(1);
  const at::Tensor x_rows = Rows(x).to(at::kFloat);
  const at::Tensor dy_wide = dy.to(at::kFloat);
  const at::Tensor h = x_rows.mm(A.t());
  at::Tensor dh = at::empty_like(h);
  at::Tensor dB = at::empty_like(B);
  ForEachPart(parts, rank, [&](const LoraPart& part, PartView at) {
    const at::Tensor dy_part = dy_wide.narrow(1, part.column, part.width);
    at::Tensor dh_part = dh.narrow(1, at.a_row, rank);
    at::Tensor dB_part = dB.narrow(0, at.b_row, part.width);
    at::addmm_out(dh_part, dh_part, dy_part, B.narrow(0, at.b_row, part.width), /*beta=*/0, /*alpha=*/scale);
    at::addmm_out(dB_part, dB_part, dy_part.t(), h.narrow(1, at.a_row, rank), /*beta=*/0, /*alpha=*/scale);
  });
  if (dx.defined() && !is_folded) dx.add_(dh.mm(A));
  return {dh.t().mm(x_rows), dB};
}

bool IsForLoraKernel(const at::Tensor& x, const at::Tensor& A, const at::Tensor& B, const at::Tensor& dy,
                     const std::vector<LoraPart>& parts) {
  if (!UseMatMulKernel() || x.scalar_type() != at::kFloat || dy.scalar_type() != at::kFloat) return false;
  if (!IsForKernel(A) || !IsForKernel(B) || A.size(1) * dy.size(1) > kMaxKernelElements) return false;
  return std::all_of(parts.begin(), parts.end(),
                     [](const LoraPart& part) { return part.width % kernels::kColumnMultiple == 0; });
}

// Rows of samples whose products with a gradient's rows are summed before they are added up: as many as the caches hold.
constexpr int64_t kRowsAtATime = 512;

// FloatLoraBackward by the kernels of linear_kernels.h: LibTorch's products of such thin matrices stay far below the
// processor's peak.
LoraGradients KernelLoraBackward(const at::Tensor& x, const at::Tensor& A, const at::Tensor& B, const at::Tensor& dy,
                                 const std::vector<LoraPart>& parts, double scale, bool is_folded, at::Tensor& dx) {
  const int64_t rows = dy.size(0), columns = dy.size(1), rank = B.size(1), stacked = A.size(0), in = A.size(1);
  const int64_t widths = B.size(0);
  const at::Tensor x_rows = Rows(x).contiguous();
  const at::Tensor h = KernelMatMul(x_rows, A.t().contiguous(), {});
  const at::Tensor dh = at::empty_like(h);
  const float* const x_data = x_rows.const_data_ptr<float>();
  const float* const dy_data = dy.const_data_ptr<float>();
  const float* const h_data = h.const_data_ptr<float>();
  float* const dh_data = dh.mutable_data_ptr<float>();
  ForEachPart(parts, rank, [&](const LoraPart& part, PartView at) {
    kernels::MatMul(rows, rank, part.width, {dy_data + part.column, columns}, B.const_data_ptr<float>() + at.b_row * rank,
                    rank, nullptr, dh_data + at.a_row, stacked);
  });
  if (dx.defined() && !is_folded) {
    kernels::AddMatMul(rows, in, stacked, {dh_data, stacked}, A.const_data_ptr<float>(), in, static_cast<float>(scale),
                       dx.mutable_data_ptr<float>(), in);
  }

  const at::Tensor dA = at::zeros_like(A), dB_transposed = at::zeros({rank, widths}, B.options());
  float* const dA_data = dA.mutable_data_ptr<float>();
  float* const dB_data = dB_transposed.mutable_data_ptr<float>();
  for (int64_t row = 0; row < rows; row += kRowsAtATime) {
    const int64_t count = std::min(kRowsAtATime, rows - row);
    kernels::AddMatMul(stacked, in, count, {dh_data + row * stacked, 1, stacked}, x_data + row * in, in,
                       static_cast<float>(scale), dA_data, in);
    ForEachPart(parts, rank, [&](const LoraPart& part, PartView at) {
      kernels::AddMatMul(rank, part.width, count, {h_data + row * stacked + at.a_row, 1, stacked},
                         dy_data + row * columns + part.column, columns, static_cast<float>(scale), dB_data + at.b_row,
                         widths);
    });
  }
  return {dA, dB_transposed.t().contiguous()};
}

// Keeps what a forward pass computed with for its backward pass.
struct UsedLora : torch::CustomClassHolder {
  explicit UsedLora(const LinearLora& lora)
      : parts(lora.parts),
        scale(lora.scale),
        is_folded(lora.folded_weight.defined()),
        packed(lora.packed),
        rounded_A(lora.rounded_A),
        rounded_B(lora.rounded_B) {}

  const std::vector<LoraPart> parts;
  const double scale;
  const bool is_folded;
  const std::shared_ptr<const kernels::Bf16Lora> packed;
  const at::Tensor rounded_A, rounded_B;
};

class LoraLinearFunction : public torch::autograd::Function<LoraLinearFunction> {
 public:
  // A and B are those of `lora`, absent where it has none: autograd looks at the arguments alone.
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const std::optional<at::Tensor>& A,
                            const std::optional<at::Tensor>& B, const FrozenLinear& linear, const LinearLora& lora,
                            bool needs_value) {
    const UsedWeight used = WeightOf(linear, lora);
    at::Tensor y = needs_value ? BaseForward(x, used, linear.bias) : EmptyOutput(x, used);
    at::Tensor h;  // the backward pass needs it even if nobody needs y
    if (!lora.folded_weight.defined() && A.has_value()) h = AddLora(x, lora, y, needs_value);
    // Without an adapter the gradient needs no x.
    variable_list saved = {A.has_value() ? x : at::Tensor(), A.value_or(at::Tensor()), B.value_or(at::Tensor()), h};
    saved.insert(saved.end(), used.weight.parts().begin(), used.weight.parts().end());
    context->save_for_backward(saved);
    context->saved_data["shape"] = x.sizes();
    context->saved_data["lora"] = c10::IValue::make_capsule(c10::make_intrusive<UsedLora>(lora));
    return y;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor& x = saved[0];
    const at::Tensor& A = saved[1];
    const at::Tensor& B = saved[2];
    const at::Tensor dy = Rows(gradients[0]).contiguous();
    const std::vector<int64_t> shape = context->saved_data["shape"].toIntVector();
    at::Tensor dx;
    if (context->needs_input_grad(0)) dx = BaseBackward(dy, StackedWeight({saved.begin() + 4, saved.end()}));
    LoraGradients lora_gradients;
    if (A.defined()) {
      const auto capsule = context->saved_data["lora"].toCapsule();
      const UsedLora& lora = static_cast<const UsedLora&>(*capsule);
      if (lora.packed != nullptr) {
        lora_gradients = Bf16LoraBackward(x, saved[3], dy, *lora.packed, dx);
      } else if (lora.rounded_A.defined()) {
        lora_gradients =
            RoundedLoraBackward(x, saved[3], dy, lora.rounded_A, lora.rounded_B, lora.parts, lora.scale, dx);
      } else if (IsForLoraKernel(x, A, B, dy, lora.parts)) {
        lora_gradients = KernelLoraBackward(x, A, B, dy, lora.parts, lora.scale, lora.is_folded, dx);
      } else {
        lora_gradients = FloatLoraBackward(x, A, B, dy, lora.parts, lora.scale, lora.is_folded, dx);
      }
    }
    return {dx.defined() ? dx.view(shape) : dx, lora_gradients.A, lora_gradients.B, {}, {}, {}};
  }
};

}  // namespace

namespace {

const LinearLora& OrNone(const LinearLora* lora) {
  static const LinearLora kNone;
  return lora == nullptr ? kNone : *lora;
}

}  // namespace

at::Tensor Linear(const FrozenLinear& linear, const at::Tensor& x, const LinearLora* lora) {
  const LinearLora& used = OrNone(lora);
  const bool trains = used.A.defined() && used.A.requires_grad();
  if (at::GradMode::is_enabled() && (x.requires_grad() || trains)) {
    return LoraLinearFunction::apply(x, IfDefined(used.A), IfDefined(used.B), linear, used, /*needs_value=*/true);
  }
  at::Tensor y = BaseForward(x, WeightOf(linear, used), linear.bias);
  if (!used.folded_weight.defined() && used.A.defined()) AddLora(x, used, y);
  return y;
}

at::Tensor LinearForGradient(const FrozenLinear& linear, const at::Tensor& x, const LinearLora* lora) {
  const LinearLora& used = OrNone(lora);
  return LoraLinearFunction::apply(x, IfDefined(used.A), IfDefined(used.B), linear, used, /*needs_value=*/false);
}

void FoldLora(const FrozenLinear& linear, LinearLora& lora) {
  const at::NoGradGuard no_grad;
  at::Tensor weight = linear.weight.Joined().to(at::kFloat, /*non_blocking=*/false, /*copy=*/true);
  const int64_t rank = lora.B.size(1);
  ForEachPart(lora.parts, rank, [&](const LoraPart& part, PartView at) {
    weight.narrow(0, part.column, part.width)
        .addmm_(lora.B.narrow(0, at.b_row, part.width), lora.A.narrow(0, at.a_row, rank), 1, lora.scale);
  });
  lora.folded_weight = weight.to(linear.weight.scalar_type());
  lora.folded_transposed_weight = TransposeIfSmall(lora.folded_weight);
}

void PackLora(const FrozenLinear& linear, LinearLora& lora) {
  const auto fits = [](int64_t size) { return size % kernels::kLoraMultiple == 0; };
  const StackedWeight& weight = linear.weight;
  if (weight.scalar_type() != at::kBFloat16) return;
  if (!weight.is_cpu()) {
    lora.rounded_A = lora.A.detach().to(at::kBFloat16);
    lora.rounded_B = lora.B.detach().to(at::kBFloat16);
    return;
  }
  if (!kernels::IsChosen(kernels::Kernel::kBf16)) return;
  if (!fits(weight.in()) || !fits(lora.B.size(1))) return;
  std::vector<kernels::Bf16LoraPart> parts;
  for (const LoraPart& part : lora.parts) {
    if (!fits(part.width) || !fits(part.column)) return;
    parts.push_back({part.column, part.width});
  }
  const at::Tensor A = lora.A.detach().contiguous(), B = lora.B.detach().contiguous();
  lora.packed = std::make_shared<const kernels::Bf16Lora>(A.const_data_ptr<float>(), B.const_data_ptr<float>(),
                                                          weight.in(), lora.B.size(1), lora.scale, std::move(parts));
}

at::Tensor TransposeIfSmall(const at::Tensor& weight, bool is_for_few_rows) {
  const int64_t most = is_for_few_rows ? kMaxFewRowsElements : kMaxKernelElements;
  const at::Tensor transposed = weight.is_cpu() && weight.numel() <= most ? weight.t().contiguous() : at::Tensor();
  return IsForKernel(transposed, most) ? transposed : at::Tensor();
}

}  // namespace flowawr
