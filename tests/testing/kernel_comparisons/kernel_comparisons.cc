#include "tests/testing/kernel_comparisons/kernel_comparisons.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <functional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/nn/fused_ops.h"
#include "common/nn/group_norm.h"
#include "tests/testing/tensor_error.h"

namespace flowawr {
namespace {

using Tensors = std::vector<at::Tensor>;
using Operation = std::function<Tensors(const Tensors&)>;

// bfloat16's roundings are 2^-9 at most and half as much on average; attention rounds its probabilities, too.
struct Bounds {
  double f32 = 2e-6;
  double bf16 = 4e-3;
};

class Comparer {
 public:
  explicit Comparer(at::Device device) : device_(device) {}

  at::Tensor Random(at::IntArrayRef sizes) { return at::randn(sizes, generator_, at::kDouble); }

  // `operation` on the device against `formula`; gradients with respect to the first `differentiable` of `inputs`.
  void Compare(const std::string& name, const Tensors& inputs, size_t differentiable, const Operation& operation,
               const Operation& formula, Bounds bounds = {}) {
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      const std::string what =
          absl::StrCat(name, " [", absl::StrJoin(inputs[0].sizes(), ", "), "] ", c10::toString(dtype));
      const double bound = dtype == at::kFloat ? bounds.f32 : bounds.bf16;
      Tensors on_device, on_host;
      for (const at::Tensor& input : inputs) {
        on_device.push_back(Placed(input, dtype));
        on_host.push_back(input.to(dtype).to(at::kDouble));
      }
      {
        const at::NoGradGuard no_grad;
        Tensors again = on_device;  // what an operation takes over it may overwrite
        for (at::Tensor& input : again) input = input.clone();
        Add(what, operation(again), formula(on_host), bound);
      }
      if (differentiable == 0) continue;
      Add(absl::StrCat(what, " with gradients"), Gradients(on_device, differentiable, operation),
          Gradients(on_host, differentiable, formula), bound);
      const Tensors once = Gradients(on_device, differentiable, operation);
      const Tensors twice = Gradients(on_device, differentiable, operation);
      for (size_t i = 0; i < once.size(); ++i) AddBits(absl::StrCat(what, " again, ", i), once[i], twice[i]);
    }
  }

  // That the operation gives the last sample's bits without the others, too; inputs have the samples first.
  void CompareAlone(const std::string& name, const Tensors& inputs, const Operation& operation) {
    const at::NoGradGuard no_grad;
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      Tensors all, last;
      for (const at::Tensor& input : inputs) {
        all.push_back(Placed(input, dtype));
        last.push_back(Placed(input.narrow(0, input.size(0) - 1, 1).clone(), dtype));
      }
      const Tensors together = operation(all), alone = operation(last);
      for (size_t i = 0; i < alone.size(); ++i)
        AddBits(absl::StrCat(name, " alone ", c10::toString(dtype)), alone[i],
                together[i].narrow(0, together[i].size(0) - 1, 1));
    }
  }

  std::vector<KernelComparison> Take() { return std::move(comparisons_); }

 private:
  // Views stay views: where an input begins and how its rows lie is part of what is compared.
  at::Tensor Placed(const at::Tensor& input, at::ScalarType dtype) const {
    at::Tensor whole = at::empty({static_cast<int64_t>(input.storage().nbytes() / input.itemsize())},
                                 at::TensorOptions(device_).dtype(dtype));
    at::Tensor placed = whole.as_strided(input.sizes(), input.strides(), input.storage_offset());
    placed.copy_(input.to(dtype));
    return placed;
  }

  // Results, and gradients of their sum with weights that are no gradient's fixed point.
  static Tensors Gradients(const Tensors& inputs, size_t differentiable, const Operation& operation) {
    const at::AutoGradMode grad(true);
    Tensors leaves = inputs, wanted;
    for (size_t i = 0; i < differentiable; ++i) {
      leaves[i] = inputs[i].detach().requires_grad_();
      wanted.push_back(leaves[i]);
    }
    Tensors results = operation(leaves), weights;
    for (const at::Tensor& result : results)
      weights.push_back(at::sin(at::arange(result.numel(), at::kDouble))
                            .to(at::kBFloat16)
                            .to(result.device(), result.scalar_type())
                            .view(result.sizes()));
    for (const at::Tensor& gradient : torch::autograd::grad(results, wanted, weights)) results.push_back(gradient);
    for (at::Tensor& result : results) result = result.detach();
    return results;
  }

  void Add(const std::string& what, const Tensors& actual, const Tensors& expected, double bound) {
    for (size_t i = 0; i < expected.size(); ++i)
      comparisons_.push_back({absl::StrCat(what, ", ", i), RelativeError(actual[i], expected[i]), bound});
  }

  void AddBits(const std::string& what, const at::Tensor& actual, const at::Tensor& expected) {
    comparisons_.push_back({what, at::equal(actual.to(at::kCPU), expected.to(at::kCPU)) ? 0.0 : 1.0, 0});
  }

  const at::Device device_;
  at::Generator generator_ = at::make_generator<at::CPUGeneratorImpl>(11);
  std::vector<KernelComparison> comparisons_;
};

Tensors LayerNormModulateFormula(const Tensors& t) {
  return {at::layer_norm(t[0], {t[0].size(2)}, {}, {}, kNormEpsilon) * (1 + t[2].unsqueeze(1)) + t[1].unsqueeze(1)};
}

void CompareLayerNorm(Comparer& c) {
  const Operation operation = [](const Tensors& t) { return Tensors{LayerNormModulate(t[0], t[1], t[2])}; };
  for (const int64_t dim : {1, 8, 37, 256, 1536}) {
    // One value has no deviation: its gradient is none but roundings.
    c.Compare("LayerNormModulate", {c.Random({3, 5, dim}) * 2 + 1, c.Random({3, dim}), c.Random({3, dim})},
              dim > 1 ? 1 : 0, operation, LayerNormModulateFormula);
  }
  c.Compare("LayerNormModulate of a shared sample", {c.Random({1, 5, 64}), c.Random({3, 64}), c.Random({3, 64})}, 1,
            operation, LayerNormModulateFormula);
  c.Compare("LayerNormModulate by a shared vector", {c.Random({3, 5, 64}), c.Random({1, 64}), c.Random({1, 64})}, 1,
            operation, LayerNormModulateFormula);
  const at::Tensor wide = c.Random({3, 6 * 64});
  c.Compare("LayerNormModulate by slices", {c.Random({3, 5, 64}), wide.narrow(1, 64, 64), wide.narrow(1, 128, 64)}, 1,
            operation, LayerNormModulateFormula);
  c.Compare(
      "LayerNormModulate from the middle of a pack",
      {c.Random({1 + 3 * 5 * 64}).narrow(0, 1, 3 * 5 * 64).view({3, 5, 64}), c.Random({3, 64}), c.Random({3, 64})}, 1,
      operation, LayerNormModulateFormula);
  c.Compare("LayerNormModulate far from zero", {c.Random({2, 3, 64}) + 300, c.Random({2, 64}), c.Random({2, 64})}, 1,
            operation, LayerNormModulateFormula, {.f32 = 1e-4, .bf16 = 1e-2});
  c.Compare("LayerNormModulate of nothing", {c.Random({3, 0, 64}), c.Random({3, 64}), c.Random({3, 64})}, 1, operation,
            LayerNormModulateFormula);
  c.CompareAlone("LayerNormModulate", {c.Random({3, 5, 48}), c.Random({3, 48}), c.Random({3, 48})}, operation);
}

void CompareGatedResidual(Comparer& c) {
  const Operation operation = [](const Tensors& t) { return Tensors{GatedResidual(t[0], t[2], t[1])}; };
  const Operation formula = [](const Tensors& t) { return Tensors{t[0] + t[2].unsqueeze(1) * t[1]}; };
  for (const int64_t dim : {1, 21, 64, 1536})
    c.Compare("GatedResidual", {c.Random({3, 4, dim}), c.Random({3, 4, dim}), c.Random({3, dim})}, 2, operation,
              formula);
  c.Compare("GatedResidual of a shared sample", {c.Random({1, 4, 64}), c.Random({3, 4, 64}), c.Random({1, 64})}, 2,
            operation, formula);
  c.Compare("GatedResidual of nothing", {c.Random({0, 4, 64}), c.Random({0, 4, 64}), c.Random({0, 64})}, 2, operation,
            formula);
  c.CompareAlone("GatedResidual", {c.Random({3, 4, 48}), c.Random({3, 4, 48}), c.Random({3, 48})}, operation);
}

void CompareGelu(Comparer& c) {
  const Operation operation = [](const Tensors& t) { return Tensors{GeluTanh(t[0])}; };
  const Operation formula = [](const Tensors& t) { return Tensors{at::gelu(t[0], "tanh")}; };
  for (const int64_t count : {0, 1, 7, 4096, 4099})
    c.Compare("GeluTanh", {c.Random({count}) * 3}, 1, operation, formula);
  c.Compare("GeluTanh from the middle of a pack", {c.Random({65}).narrow(0, 1, 64)}, 1, operation, formula);
  c.Compare("GeluTanh far from zero", {at::tensor({-1e4, -50., 0., 50., 1e4}, at::kDouble)}, 1, operation, formula);
}

at::Tensor Heads(const at::Tensor& x, int64_t heads, const at::Tensor& weight) {
  const at::Tensor split = x.unflatten(2, {heads, -1}).transpose(1, 2);
  if (!weight.defined()) return split;
  return split * at::rsqrt(split.square().mean(-1, true) + kNormEpsilon) * weight;
}

at::Tensor AttentionFormula(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  const double scale = 1 / std::sqrt(static_cast<double>(q.size(3)));
  return at::softmax(q.matmul(k.transpose(2, 3)) * scale, -1).matmul(v).transpose(1, 2).flatten(2);
}

// Operands: both projections, the norms of q and k of the first stream and of the second.
void CompareJointAttention(Comparer& c) {
  constexpr Bounds kBounds{.f32 = 1e-5, .bf16 = 1e-2};
  for (const int64_t head_dim : {64, 20, 128}) {
    for (const int64_t rows : {3, 1}) {
      const int64_t heads = 3, dim = heads * head_dim;
      const auto norm = [&] { return c.Random({head_dim}); };
      c.Compare(
          "JointAttention", {c.Random({3, 9, 3 * dim}), c.Random({rows, 6, 3 * dim}), norm(), norm(), norm(), norm()},
          2,
          [=](const Tensors& t) {
            const auto [a, b] = JointAttention({t[0], true, t[2], t[3]}, {t[1], true, t[4], t[5]}, heads);
            return Tensors{a, b};
          },
          [=](const Tensors& t) {
            const at::Tensor text = t[1].expand({3, -1, -1});
            const Tensors a = t[0].split(dim, 2), b = text.split(dim, 2);
            const at::Tensor out = AttentionFormula(at::cat({Heads(a[0], heads, t[2]), Heads(b[0], heads, t[4])}, 2),
                                                    at::cat({Heads(a[1], heads, t[3]), Heads(b[1], heads, t[5])}, 2),
                                                    at::cat({Heads(a[2], heads, {}), Heads(b[2], heads, {})}, 2));
            return Tensors{out.narrow(1, 0, 9), out.narrow(1, 9, 6)};
          },
          kBounds);
      c.Compare(
          "JointAttention without queries of the second",
          {c.Random({3, 5, 3 * dim}), c.Random({rows, 7, 2 * dim}), norm(), norm(), norm()}, 2,
          [=](const Tensors& t) {
            return Tensors{JointAttention({t[0], true, t[2], t[3]}, {t[1], false, {}, t[4]}, heads).first};
          },
          [=](const Tensors& t) {
            const Tensors a = t[0].split(dim, 2), b = t[1].expand({3, -1, -1}).split(dim, 2);
            return Tensors{AttentionFormula(Heads(a[0], heads, t[2]),
                                            at::cat({Heads(a[1], heads, t[3]), Heads(b[0], heads, t[4])}, 2),
                                            at::cat({Heads(a[2], heads, {}), Heads(b[1], heads, {})}, 2))};
          },
          kBounds);
    }
    const int64_t heads = 2, dim = heads * head_dim;
    c.Compare(
        "SelfAttention", {c.Random({2, 11, 3 * dim}), c.Random({head_dim}), c.Random({head_dim})}, 1,
        [=](const Tensors& t) {
          return Tensors{SelfAttention({t[0], true, t[1], t[2]}, heads)};
        },
        [=](const Tensors& t) {
          const Tensors a = t[0].split(dim, 2);
          return Tensors{AttentionFormula(Heads(a[0], heads, t[1]), Heads(a[1], heads, t[2]), Heads(a[2], heads, {}))};
        },
        kBounds);
  }
}

struct Images {
  int64_t batch, channels, groups, height, width;
  double mean = 0;
};

void CompareGroupNorm(Comparer& c) {
  constexpr double kEpsilon = 1e-6;
  const auto operation = [](int64_t groups) {
    return [groups](const Tensors& t) { return Tensors{GroupNormSilu(t[0], groups, t[1], t[2], kEpsilon)}; };
  };
  // Chunks whole and cut, channels more than a block has lanes, groups smaller and larger than a pack, a mean far away.
  for (const Images& i : {Images{1, 128, 32, 40, 33}, Images{2, 24, 4, 7, 5}, Images{1, 6, 3, 1, 2},
                          Images{3, 64, 32, 16, 16}, Images{2, 512, 32, 9, 9}, Images{1, 2304, 9, 3, 3},
                          Images{1, 322, 7, 5, 5}, Images{0, 64, 32, 4, 4}, Images{1, 32, 8, 64, 64, /*mean=*/300}}) {
    const at::Tensor x =
        (c.Random({i.batch, i.channels, i.height, i.width}) + i.mean).contiguous(at::MemoryFormat::ChannelsLast);
    const Tensors inputs = {x, c.Random({i.channels}) * 0.1 + 1, c.Random({i.channels})};
    c.Compare("GroupNormSilu", inputs, 0, operation(i.groups),
              [&](const Tensors& t) { return Tensors{at::silu(at::group_norm(t[0], i.groups, t[1], t[2], kEpsilon))}; },
              {.f32 = i.mean == 0 ? 2e-6 : 1e-4, .bf16 = 4e-3});
  }
}

}  // namespace

std::vector<KernelComparison> CompareKernels(at::Device device) {
  Comparer comparer(device);
  CompareLayerNorm(comparer);
  CompareGatedResidual(comparer);
  CompareGelu(comparer);
  CompareJointAttention(comparer);
  CompareGroupNorm(comparer);
  return comparer.Take();
}

}  // namespace flowawr
