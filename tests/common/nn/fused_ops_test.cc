#include "common/nn/fused_ops.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <functional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/nn/lora_linear.h"

namespace flowawr {
namespace {

using Tensors = std::vector<at::Tensor>;

// The same inputs in every run.
class Seeded : public testing::Environment {
 public:
  void SetUp() override { at::manual_seed(1); }
};
[[maybe_unused]] const testing::Environment* const kSeeded = testing::AddGlobalTestEnvironment(new Seeded);

// Compares an operation on f32 and bfloat16 (the kernels) with the same on doubles (LibTorch's operations, independent
// of the kernels): values, and gradients with respect to the first `differentiable` inputs.
void ExpectSame(const Tensors& inputs, size_t differentiable, const std::function<Tensors(const Tensors&)>& fused,
                const std::function<Tensors(const Tensors&)>& composed) {
  const auto run = [&](at::ScalarType dtype, const auto& operation, bool with_gradients,
                       at::ScalarType rounds_to = at::kDouble) {
    Tensors leaves;
    for (size_t i = 0; i < inputs.size(); ++i) {
      at::Tensor leaf = inputs[i].to(rounds_to).to(dtype, /*non_blocking=*/false, /*copy=*/true);
      leaves.push_back(with_gradients && i < differentiable ? leaf.requires_grad_(true) : leaf);
    }
    Tensors results = operation(leaves);
    if (!with_gradients) return results;
    at::Tensor loss = at::zeros({}, dtype);
    for (const at::Tensor& result : results) {
      const at::Tensor weight =
          at::sin(at::arange(result.numel(), at::kDouble)).to(at::kBFloat16).to(dtype).view(result.sizes());
      loss = loss + (result * weight).sum();
    }
    loss.backward();
    for (size_t i = 0; i < differentiable; ++i) results.push_back(leaves[i].grad());
    return results;
  };
  const auto expect_near = [](const Tensors& actual, const Tensors& expected) {
    for (size_t i = 0; i < actual.size(); ++i) {
      ASSERT_EQ(actual[i].sizes(), expected[i].sizes());
      const double error = (actual[i].detach().to(at::kDouble) - expected[i].detach()).abs().max().item<double>();
      EXPECT_LT(error, 1e-5 * (1 + expected[i].detach().abs().max().item<double>())) << "result " << i;
    }
  };
  const auto expect_rounded = [](const Tensors& actual, const Tensors& expected) {
    for (size_t i = 0; i < actual.size(); ++i) {
      ASSERT_EQ(actual[i].sizes(), expected[i].sizes());
      const at::Tensor wanted = expected[i].detach();
      const double error = (actual[i].detach().to(at::kDouble) - wanted).norm().item<double>();
      EXPECT_LT(error, 0.01 * wanted.norm().item<double>()) << "result " << i;
    }
  };
  for (const bool with_gradients : {true, false}) {
    at::set_num_threads(1);
    expect_near(run(at::kFloat, fused, with_gradients), run(at::kDouble, composed, with_gradients));
    at::set_num_threads(2);
    expect_rounded(run(at::kBFloat16, fused, with_gradients),
                   run(at::kDouble, composed, with_gradients, /*rounds_to=*/at::kBFloat16));
  }
}

TEST(LayerNormModulateTest, MatchesLibTorch) {
  for (const int64_t dim : {48, 37}) {
    ExpectSame(
        {at::randn({3, 5, dim}) * 2 + 1, at::randn({3, dim}), at::randn({3, dim})}, 1,
        [](const Tensors& t) { return Tensors{LayerNormModulate(t[0], t[1], t[2])}; },
        [](const Tensors& t) {
          return Tensors{at::layer_norm(t[0], {t[0].size(2)}, {}, {}, 1e-6) * (1 + t[2].unsqueeze(1)) +
                         t[1].unsqueeze(1)};
        });
  }
}

TEST(LayerNormModulateTest, SharesOneSampleAmongAll) {
  ExpectSame(
      {at::randn({1, 5, 32}), at::randn({3, 32}), at::randn({3, 32})}, 1,
      [](const Tensors& t) { return Tensors{LayerNormModulate(t[0], t[1], t[2])}; },
      [](const Tensors& t) {
        return Tensors{at::layer_norm(t[0], {32}, {}, {}, 1e-6) * (1 + t[2].unsqueeze(1)) + t[1].unsqueeze(1)};
      });
}

TEST(GatedResidualTest, MatchesLibTorch) {
  for (const int64_t rows : {1, 3}) {
    ExpectSame(
        {at::randn({rows, 4, 21}), at::randn({3, 4, 21}), at::randn({rows, 21})}, 2,
        [](const Tensors& t) { return Tensors{GatedResidual(t[0], t[2], t[1])}; },
        [](const Tensors& t) { return Tensors{t[0] + t[2].unsqueeze(1) * t[1]}; });
  }
}

TEST(GeluTanhTest, MatchesLibTorchAlsoFarFromZero) {
  ExpectSame(
      {at::cat({at::linspace(-6, 6, 999), at::tensor({-1e4f, -50.f, 0.f, 50.f, 1e4f})})}, 1,
      [](const Tensors& t) { return Tensors{GeluTanh(t[0])}; },
      [](const Tensors& t) { return Tensors{at::gelu(t[0], "tanh")}; });
}

TEST(GeluTanhTest, KeepsNaN) { EXPECT_TRUE(GeluTanh(at::full({20}, NAN)).isnan().all().item<bool>()); }

TEST(QuickGeluTest, MatchesItsFormulaAlsoFarFromZero) {
  const at::Tensor x = at::cat({at::linspace(-6, 6, 999), at::tensor({-1e4f, -50.f, 0.f, 50.f, 1e4f})});
  const at::Tensor exact = x.to(at::kDouble), expected = exact * at::sigmoid(1.702 * exact);
  EXPECT_TRUE(at::allclose(QuickGelu(x.clone()).to(at::kDouble), expected, 1e-6, 1e-7));
  EXPECT_TRUE(at::allclose(QuickGelu(x.clone().requires_grad_()).to(at::kDouble), expected, 1e-6, 1e-7));
  EXPECT_TRUE(QuickGelu(at::full({20}, NAN)).isnan().all().item<bool>());
}

// Projections of 2 heads with their norm weights, through the textbook formula.
at::Tensor Heads(const at::Tensor& x, const at::Tensor& weight) {
  const at::Tensor heads = x.unflatten(2, {2, -1}).transpose(1, 2);
  if (!weight.defined()) return heads;
  return heads * at::rsqrt(heads.square().mean(-1, true) + 1e-6) * weight;
}

at::Tensor Textbook(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  const double scale = 1 / std::sqrt(static_cast<double>(q.size(3)));
  return at::softmax(q.matmul(k.transpose(2, 3)) * scale, -1).matmul(v).transpose(1, 2).flatten(2);
}

TEST(JointAttentionTest, MatchesTheFormula) {
  const Tensors inputs{at::randn({3, 9, 192}), at::randn({3, 8, 192}), at::randn({32}),
                       at::randn({32}),        at::randn({32}),        at::randn({32})};
  ExpectSame(
      inputs, 2,
      [](const Tensors& t) {
        const auto [a, b] = JointAttention({t[0], true, t[2], t[3]}, {t[1], true, t[4], t[5]}, 2);
        return Tensors{a, b};
      },
      [](const Tensors& t) {
        const Tensors a = t[0].split(64, 2);
        const Tensors b = t[1].split(64, 2);
        const at::Tensor out = Textbook(at::cat({Heads(a[0], t[2]), Heads(b[0], t[4])}, 2),
                                        at::cat({Heads(a[1], t[3]), Heads(b[1], t[5])}, 2),
                                        at::cat({Heads(a[2], {}), Heads(b[2], {})}, 2));
        return Tensors{out.narrow(1, 0, 9), out.narrow(1, 9, 8)};
      });
}

TEST(JointAttentionTest, SecondStreamMayOnlyBeAttendedTo) {
  const Tensors inputs{at::randn({2, 5, 192}), at::randn({2, 13, 128})};
  ExpectSame(
      inputs, 2,
      [](const Tensors& t) {
        const auto [a, b] = JointAttention({t[0], true, {}, {}}, {t[1], false, {}, {}}, 2);
        EXPECT_FALSE(b.defined());
        return Tensors{a};
      },
      [](const Tensors& t) {
        const Tensors a = t[0].split(64, 2);
        const Tensors b = t[1].split(64, 2);
        return Tensors{Textbook(Heads(a[0], {}), at::cat({Heads(a[1], {}), Heads(b[0], {})}, 2),
                                at::cat({Heads(a[2], {}), Heads(b[1], {})}, 2))};
      });
}

TEST(SelfAttentionTest, MatchesTheFormula) {
  for (const int64_t tokens : {33, 157}) {  // 157: several of the bfloat16 kernel's blocks, the last one ragged
    for (const int64_t dim : {32, 80}) {    // 80: of ViT-H; its pairs fill no whole vectors
      SCOPED_TRACE(absl::StrCat(tokens, " tokens, heads of ", dim));
      ExpectSame(
          {at::randn({2, tokens, 6 * dim}), at::randn({dim}), at::randn({dim})}, 1,
          [](const Tensors& t) {
            return Tensors{SelfAttention({t[0], true, t[1], t[2]}, 2)};
          },
          [](const Tensors& t) {
            const Tensors a = t[0].chunk(3, 2);
            return Tensors{Textbook(Heads(a[0], t[1]), Heads(a[1], t[2]), Heads(a[2], {}))};
          });
    }
  }
}

// Every token attends to itself alone, by a score in the thousands.
TEST(SelfAttentionTest, SurvivesLargeScores) {
  const at::Tensor directions = at::randn({1, 100, 2, 32});
  const at::Tensor k = (6 * directions / directions.norm(2, {-1}, /*keepdim=*/true)).flatten(2);
  const at::Tensor v = at::randn({1, 100, 64}).to(at::kBFloat16);
  const at::Tensor projection = at::cat({100 * k, k, v}, 2).to(at::kBFloat16);
  EXPECT_LT((SelfAttention({projection, true, {}, {}}, 2) - v).abs().max().item<double>(), 1e-3);
}

TEST(SelfAttentionTest, SamplesHaveTheSameBitsInAnyBatchAndThreadCount) {
  const at::Tensor all = at::randn({3, 90, 192}).to(at::kBFloat16);
  at::set_num_threads(2);
  const at::Tensor together = SelfAttention({all, true, {}, {}}, 2);
  at::set_num_threads(1);
  for (int64_t i = 0; i < 3; ++i)
    EXPECT_TRUE(SelfAttention({all.narrow(0, i, 1), true, {}, {}}, 2).equal(together.narrow(0, i, 1)));
}

// x, then A and B of an adapter on the first and the third of three layers fused into one.
TEST(LinearTest, TrainsAFoldedAdapterAsOneBesideTheBase) {
  const at::Tensor weight = at::randn({48, 32}) * 0.2;
  const at::Tensor bias = at::randn({48});
  const auto linear_of = [&](at::ScalarType dtype) {
    const at::Tensor w = weight.to(dtype);
    return FrozenLinear{{"q", "k", "v"}, {16, 16, 16}, w, bias.to(dtype), TransposeIfSmall(w)};
  };
  const Tensors inputs{at::randn({2, 7, 32}), at::randn({6, 32}), at::randn({32, 3})};
  const auto composed = [&](const Tensors& t) {
    const FrozenLinear linear = linear_of(at::kDouble);
    const at::Tensor h = at::matmul(t[0], t[1].t());
    const at::Tensor q = at::matmul(h.narrow(2, 0, 3), t[2].narrow(0, 0, 16).t());
    const at::Tensor v = at::matmul(h.narrow(2, 3, 3), t[2].narrow(0, 16, 16).t());
    return Tensors{at::linear(t[0], linear.weight.Joined(), linear.bias) + 0.5 * at::cat({q, at::zeros_like(q), v}, 2)};
  };
  for (const bool folds : {true, false}) {
    ExpectSame(
        inputs, 3,
        [&](const Tensors& t) {
          const FrozenLinear linear = linear_of(t[0].scalar_type());
          LinearLora lora{
              .A = t[1].to(at::kFloat), .B = t[2].to(at::kFloat), .parts = {{0, 16}, {32, 16}}, .scale = 0.5};
          if (folds) FoldLora(linear, lora);
          return Tensors{Linear(linear, t[0], &lora)};
        },
        composed);
  }
}

// Rows in several of the kernels' blocks, an odd number of them.
TEST(LinearTest, TrainsAnAdapterBesideABfloat16Base) {
  const at::Tensor weight = (at::randn({160, 96}) * 0.1).to(at::kBFloat16);
  const at::Tensor bias = at::randn({160}).to(at::kBFloat16);
  const at::Tensor x = at::randn({3, 729, 96}).to(at::kBFloat16);
  const at::Tensor A = at::randn({32, 96}) * 0.1;
  const at::Tensor B = at::randn({128, 16}) * 0.1;
  const at::Tensor dy = at::randn({3, 729, 160}).to(at::kBFloat16);
  const FrozenLinear whole{{"q", "k", "v"}, {64, 32, 64}, weight, bias, {}};
  const FrozenLinear in_parts{
      whole.names, whole.widths, StackedWeight(weight.split_with_sizes(whole.widths)), bias, {}};

  const auto exact = [&] {
    Tensors leaves;
    for (const at::Tensor& leaf : {x, A, B}) leaves.push_back(leaf.to(at::kDouble).requires_grad_(true));
    const at::Tensor h = at::matmul(leaves[0], leaves[1].t());
    const at::Tensor q = at::matmul(h.narrow(2, 0, 16), leaves[2].narrow(0, 0, 64).t());
    const at::Tensor v = at::matmul(h.narrow(2, 16, 16), leaves[2].narrow(0, 64, 64).t());
    const at::Tensor y = at::linear(leaves[0], weight.to(at::kDouble), bias.to(at::kDouble)) +
                         0.5 * at::cat({q, at::zeros({3, 729, 32}, at::kDouble), v}, 2);
    y.backward(dy.to(at::kDouble));
    return Tensors{y.detach(), leaves[0].grad(), leaves[1].grad(), leaves[2].grad()};
  }();
  for (const auto& [linear, threads] : {std::pair{whole, 1}, std::pair{whole, 2}, std::pair{in_parts, 2}}) {
    at::set_num_threads(threads);
    const at::Tensor leaf = x.clone().requires_grad_(true);
    LinearLora lora{.A = A.clone().requires_grad_(true),
                    .B = B.clone().requires_grad_(true),
                    .parts = {{0, 64}, {96, 64}},
                    .scale = 0.5};
    PackLora(linear, lora);
    const at::Tensor y = Linear(linear, leaf, &lora);
    y.backward(dy);
    const Tensors actual{y.detach(), leaf.grad(), lora.A.grad(), lora.B.grad()};
    for (size_t i = 0; i < actual.size(); ++i) {
      const double error = (actual[i].to(at::kDouble) - exact[i]).norm().item<double>();
      EXPECT_LT(error, 0.006 * exact[i].norm().item<double>()) << "result " << i << ", threads " << threads;
    }
  }
}

TEST(LinearTest, RowsHaveTheSameBitsInAnyBatch) {
  at::set_num_threads(1);
  const at::Tensor weight = at::randn({80, 24});
  const FrozenLinear linear{{"l"}, {80}, weight, at::randn({80}), TransposeIfSmall(weight)};
  ASSERT_TRUE(linear.transposed_weight.defined());
  const at::Tensor x = at::randn({11, 24});
  const at::Tensor all = Linear(linear, x);
  for (int64_t i = 0; i < 11; ++i) EXPECT_TRUE(Linear(linear, x.narrow(0, i, 1)).equal(all.narrow(0, i, 1)));
}

}  // namespace
}  // namespace flowawr
