// The kernels under every instruction set that this machine has, against plain loops in double precision. Sizes leave
// rests in every vector and every tile.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "common/nn/attention_kernels.h"
#include "common/nn/elementwise_kernels.h"
#include "common/nn/group_norm_kernels.h"
#include "common/nn/instruction_set.h"
#include "common/nn/linear_kernels.h"

namespace flowawr::kernels {
namespace {

using Doubles = std::vector<double>;

float ValueOf(float x) { return x; }
float ValueOf(Bf16 x) { return FloatOf(x); }

// Normally distributed, the same for the same seed.
template <typename T = float>
std::vector<T> Random(int64_t size, uint32_t seed, float scale = 1) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<T> values(size);
  for (T& value : values) {
    if constexpr (std::is_same_v<T, float>) {
      value = scale * normal(generator);
    } else {
      value = Bf16Of(scale * normal(generator));
    }
  }
  return values;
}

// To f32's rounding of sums, or to bfloat16's.
template <typename T>
void ExpectNear(const std::vector<T>& actual, const Doubles& expected, const std::string& what) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  double highest = 1;
  for (const double value : expected) highest = std::max(highest, std::abs(value));
  for (size_t i = 0; i < actual.size(); ++i) {
    const double bound = std::is_same_v<T, float> ? 3e-6 * highest : 1e-5 + std::abs(expected[i]) / 250;
    ASSERT_NEAR(ValueOf(actual[i]), expected[i], bound) << what << ", element " << i;
  }
}

class KernelsTest : public testing::TestWithParam<InstructionSet> {
 private:
  const ScopedInstructionSet restricted_{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(On, KernelsTest, testing::ValuesIn(AvailableInstructionSets()),
                         [](const auto& info) { return std::string(NameOf(info.param)); });

TEST_P(KernelsTest, MatMulEqualsTheSums) {
  for (const int64_t rows : {1, 2, 3, 5, 11, 25, 53}) {
    for (const int64_t columns : {16, 32, 48, 112}) {
      for (const int64_t inner : {1, 24, 131}) {
        const auto a = Random(rows * inner, 1), b = Random(inner * columns, 2), bias = Random(columns, 3);
        for (const bool has_bias : {true, false}) {
          Doubles expected(rows * columns);
          for (int64_t i = 0; i < rows * columns; ++i) {
            const int64_t row = i / columns, column = i % columns;
            if (has_bias) expected[i] = bias[column];
            for (int64_t k = 0; k < inner; ++k) expected[i] += double{a[row * inner + k]} * b[k * columns + column];
          }
          std::vector<float> c(rows * columns, NAN);
          MatMul(rows, columns, inner, {a.data(), inner}, b.data(), columns, has_bias ? bias.data() : nullptr, c.data(),
                 columns);
          ExpectNear(c, expected, std::to_string(rows) + " x " + std::to_string(columns));
        }
      }
    }
  }
}

TEST_P(KernelsTest, ARowOfAMatMulHasTheSameBitsWhereverItStands) {
  constexpr int64_t kRows = 61, kColumns = 80, kInner = 57;
  const auto a = Random(kRows * kInner, 1), b = Random(kInner * kColumns, 2);
  std::vector<float> all(kRows * kColumns), alone(kColumns);
  MatMul(kRows, kColumns, kInner, {a.data(), kInner}, b.data(), kColumns, nullptr, all.data(), kColumns);
  for (int64_t row = 0; row < kRows; ++row) {
    MatMul(1, kColumns, kInner, {a.data() + row * kInner, kInner}, b.data(), kColumns, nullptr, alone.data(), kColumns);
    EXPECT_TRUE(std::equal(alone.begin(), alone.end(), all.begin() + row * kColumns)) << row;
  }
}

// a transposed, all three matrices within larger ones.
TEST_P(KernelsTest, AddMatMulAddsScaledSums) {
  constexpr int64_t kColumns = 80, kInner = 29, kARow = 70, kBRow = 96, kCRow = 83;
  constexpr float kScale = -1.5f;
  const auto a = Random(kInner * kARow, 1), b = Random(kInner * kBRow, 2);
  for (const int64_t rows : {1, 7, 64}) {
    auto c = Random(rows * kCRow, 3);
    Doubles expected(c.begin(), c.end());
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < kColumns; ++j) {
        for (int64_t k = 0; k < kInner; ++k)
          expected[i * kCRow + j] += double{kScale} * a[k * kARow + i] * b[k * kBRow + j];
      }
    }
    AddMatMul(rows, kColumns, kInner, {a.data(), 1, kARow}, b.data(), kBRow, kScale, c.data(), kCRow);
    ExpectNear(c, expected, std::to_string(rows) + " rows");
  }
}

// Products and sums are fused on AVX2 and cannot be on SSE4: other bits prove that other code ran.
TEST(KernelDispatchTest, RunsTheCodeOfTheActiveInstructionSet) {
  const auto has = [](InstructionSet set) {
    const std::vector<InstructionSet>& available = AvailableInstructionSets();
    return std::find(available.begin(), available.end(), set) != available.end();
  };
  if (!has(InstructionSet::kSse4) || !has(InstructionSet::kAvx2)) GTEST_SKIP() << "needs SSE4 and AVX2";
  const auto a = Random(64 * 64, 1), b = Random(64 * 64, 2);
  std::vector<float> c[2];
  for (const InstructionSet set : {InstructionSet::kSse4, InstructionSet::kAvx2}) {
    const ScopedInstructionSet restricted(set);
    std::vector<float>& out = c[set == InstructionSet::kAvx2];
    out.resize(64 * 64);
    MatMul(64, 64, 64, {a.data(), 64}, b.data(), 64, nullptr, out.data(), 64);
  }
  EXPECT_NE(c[0], c[1]);
}

// Two streams, the second perhaps without queries; the projections of a sample's token are side by side: q, k, v.
struct AttentionCase {
  int64_t first_tokens, second_tokens;
  bool second_has_queries, has_norm;
  int64_t head_dim;
};

struct AttentionProblem {
  explicit AttentionProblem(const AttentionCase& c) : shape(c), width(kHeads * c.head_dim) {
    first = Random(kBatch * c.first_tokens * 3 * width, 1);
    second = Random(kBatch * c.second_tokens * 3 * width, 2);
    for (int i = 0; i < 4; ++i) norms.push_back(Random(c.head_dim, 3 + i));
  }

  AttentionSize Size() const { return {kBatch, kHeads, shape.head_dim, kEpsilon}; }
  const float* Norm(int i) const { return shape.has_norm ? norms[i].data() : nullptr; }
  AttentionStream First() const {
    const float* x = first.data();
    const int64_t row = 3 * width;
    return {shape.first_tokens, x, x + width, x + 2 * width, row, shape.first_tokens * row, Norm(0), Norm(1)};
  }
  AttentionStream Second() const {
    if (shape.second_tokens == 0) return {};
    const float* x = second.data();
    return {shape.second_tokens,
            shape.second_has_queries ? x : nullptr,
            x + width,
            x + 2 * width,
            3 * width,
            shape.second_tokens * 3 * width,
            Norm(2),
            Norm(3)};
  }
  int64_t SecondQueries() const { return shape.second_has_queries ? shape.second_tokens : 0; }

  static constexpr int64_t kBatch = 2, kHeads = 3;
  static constexpr float kEpsilon = 1e-6f;
  const AttentionCase shape;
  const int64_t width;
  std::vector<float> first, second;  // [batch, tokens, 3, heads, head_dim]
  std::vector<std::vector<float>> norms;
};

// The weighted sum of all outputs, sum_i sin(i) out_i, the formula step by step, in double; and the outputs.
double Attended(const AttentionProblem& p, const Doubles& first, const Doubles& second, Doubles* first_out,
                Doubles* second_out) {
  const int64_t dim = p.shape.head_dim, n1 = p.shape.first_tokens, n2 = p.shape.second_tokens, keys = n1 + n2;
  const auto row = [&](int64_t b, int64_t t, int which, int64_t h) {
    const bool is_first = t < n1;
    const double* x = is_first ? first.data() + (b * n1 + t) * 3 * p.width
                               : second.data() + (b * n2 + t - n1) * 3 * p.width;
    Doubles values(x + which * p.width + h * dim, x + which * p.width + (h + 1) * dim);
    const float* weight = which == 2 ? nullptr : p.Norm((is_first ? 0 : 2) + which);
    if (weight == nullptr) return values;
    double squares = 0;
    for (const double value : values) squares += value * value;
    for (int64_t i = 0; i < dim; ++i) values[i] *= weight[i] / std::sqrt(squares / dim + p.kEpsilon);
    return values;
  };
  first_out->assign(p.kBatch * n1 * p.width, 0);
  second_out->assign(p.kBatch * p.SecondQueries() * p.width, 0);
  double total = 0;
  for (int64_t b = 0; b < p.kBatch; ++b) {
    for (int64_t h = 0; h < p.kHeads; ++h) {
      std::vector<Doubles> k, v;
      for (int64_t t = 0; t < keys; ++t) {
        k.push_back(row(b, t, 1, h));
        v.push_back(row(b, t, 2, h));
      }
      for (int64_t t = 0; t < n1 + p.SecondQueries(); ++t) {
        const Doubles q = row(b, t, 0, h);
        Doubles weights(keys);
        double sum = 0;
        for (int64_t j = 0; j < keys; ++j) {
          double score = 0;
          for (int64_t i = 0; i < dim; ++i) score += q[i] * k[j][i];
          sum += weights[j] = std::exp(score / std::sqrt(dim));
        }
        const int64_t at = t < n1 ? (b * n1 + t) * p.width : (b * n2 + t - n1) * p.width;
        double* out = (t < n1 ? first_out : second_out)->data() + at + h * dim;
        for (int64_t i = 0; i < dim; ++i) {
          for (int64_t j = 0; j < keys; ++j) out[i] += weights[j] / sum * v[j][i];
          total += std::sin(at + h * dim + i) * out[i];
        }
      }
    }
  }
  return total;
}

constexpr AttentionCase kAttentionCases[] = {
    {9, 8, true, true, 32}, {5, 13, false, false, 16}, {33, 0, false, true, 48}, {1, 2, true, true, 128}};

TEST_P(KernelsTest, AttentionEqualsTheFormula) {
  for (const AttentionCase& c : kAttentionCases) {
    const AttentionProblem p(c);
    Doubles first_expected, second_expected;
    Attended(p, {p.first.begin(), p.first.end()}, {p.second.begin(), p.second.end()}, &first_expected,
             &second_expected);
    std::vector<float> first_out(first_expected.size()), second_out(second_expected.size());
    Attention(p.Size(), p.First(), p.Second(), first_out.data(), second_out.data());
    ExpectNear(first_out, first_expected, "first");
    ExpectNear(second_out, second_expected, "second");
  }
}

// Against central differences of the formula in double, at a few elements of q, k and v.
TEST_P(KernelsTest, AttentionBackwardEqualsFiniteDifferences) {
  for (const AttentionCase& c : kAttentionCases) {
    const AttentionProblem p(c);
    std::vector<float> first_dout(p.kBatch * c.first_tokens * p.width);
    std::vector<float> second_dout(p.kBatch * p.SecondQueries() * p.width);
    for (size_t i = 0; i < first_dout.size(); ++i) first_dout[i] = static_cast<float>(std::sin(i));
    for (size_t i = 0; i < second_dout.size(); ++i) second_dout[i] = static_cast<float>(std::sin(i));
    std::vector<float> dfirst(p.first.size()), dsecond(p.second.size());
    const auto gradient = [&](std::vector<float>& dx, const std::vector<float>& dout, bool has_queries) {
      return AttentionStreamGradient{dout.data(), has_queries ? dx.data() : nullptr, dx.data() + p.width,
                                     dx.data() + 2 * p.width};
    };
    AttentionBackward(p.Size(), p.First(), p.Second(), gradient(dfirst, first_dout, true),
                      c.second_tokens == 0 ? AttentionStreamGradient{}
                                           : gradient(dsecond, second_dout, c.second_has_queries));
    Doubles first(p.first.begin(), p.first.end()), second(p.second.begin(), p.second.end()), unused, unused_too;
    const auto check = [&](Doubles& x, const std::vector<float>& dx) {
      for (size_t i = 0; i < x.size(); i += std::max<size_t>(1, x.size() / 23)) {
        const double before = x[i], step = 1e-4;
        x[i] = before + step;
        const double above = Attended(p, first, second, &unused, &unused_too);
        x[i] = before - step;
        const double below = Attended(p, first, second, &unused, &unused_too);
        x[i] = before;
        const double expected = (above - below) / (2 * step);
        ASSERT_NEAR(dx[i], expected, 2e-5 * (1 + std::abs(expected))) << "element " << i;
      }
    };
    check(first, dfirst);
    check(second, dsecond);
  }
}

constexpr int64_t kTokens = 3, kRows = 2 * kTokens;
constexpr float kEpsilon = 1e-6f;

double Gelu(double x) { return .5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + .044715 * x * x * x))); }

// Elementwise kernels on rows of `dim` elements of type T.
template <typename T>
void ExpectElementwiseKernelsToBeRight(int64_t dim) {
  const Tokens size{kTokens, dim};
  const auto x = Random<T>(kRows * dim, 1, 2), y = Random<T>(kRows * dim, 2);
  const auto shift = Random<T>(2 * dim, 3), scale = Random<T>(2 * dim, 4);
  std::vector<T> out(kRows * dim), cut(kRows * dim);
  Doubles modulated(kRows * dim), dx(kRows * dim), gated(kRows * dim), product(kRows * dim), gelu(kRows * dim),
      dgelu(kRows * dim), quick_gelu(kRows * dim);
  for (int64_t r = 0; r < kRows; ++r) {
    const int64_t b = r / kTokens * dim;
    double mean = 0, variance = 0, mean_gradient = 0, projection = 0;
    for (int64_t i = 0; i < dim; ++i) mean += ValueOf(x[r * dim + i]) / dim;
    for (int64_t i = 0; i < dim; ++i) variance += std::pow(ValueOf(x[r * dim + i]) - mean, 2) / dim;
    const double deviation = std::sqrt(variance + kEpsilon);
    for (int64_t i = 0; i < dim; ++i) {
      const double gradient = ValueOf(y[r * dim + i]) * (1.0 + ValueOf(scale[b + i]));
      mean_gradient += gradient / dim;
      projection += gradient * (ValueOf(x[r * dim + i]) - mean) / deviation / dim;
    }
    for (int64_t i = 0; i < dim; ++i) {
      const int64_t at = r * dim + i;
      const double value = ValueOf(x[at]), normalised = (value - mean) / deviation, slope = 1.0 + ValueOf(scale[b + i]);
      modulated[at] = normalised * slope + ValueOf(shift[b + i]);
      dx[at] = (ValueOf(y[at]) * slope - mean_gradient - normalised * projection) / deviation;
      product[at] = double{ValueOf(scale[b + i])} * ValueOf(y[at]);
      gated[at] = value + product[at];
      gelu[at] = Gelu(value);
      quick_gelu[at] = value / (1 + std::exp(-1.702 * value));
      const double tanh = std::tanh(std::sqrt(2 / M_PI) * (value + .044715 * std::pow(value, 3)));
      dgelu[at] = ValueOf(y[at]) * (.5 * (1 + tanh) + .5 * value * (1 - tanh * tanh) * std::sqrt(2 / M_PI) *
                                                          (1 + 3 * .044715 * value * value));
    }
  }
  const PerSample<T> shifts{shift.data(), dim}, scales{scale.data(), dim};
  // Whole, then cut in ranges [0, 1), [1, 4), ...: the same bits.
  const auto check = [&](int64_t total, const Doubles& expected, const char* what, const auto& kernel) {
    kernel(0, total, out.data());
    ExpectNear(out, expected, std::string(what) + ", " + std::to_string(dim));
    for (int64_t begin = 0, step = 1; begin < total; begin += step, step += 2)
      kernel(begin, std::min(total, begin + step), cut.data());
    EXPECT_EQ(0, std::memcmp(out.data(), cut.data(), out.size() * sizeof(T))) << what << ", " << dim;
  };
  check(kRows, modulated, "LayerNormModulate", [&](int64_t begin, int64_t end, T* to) {
    LayerNormModulate(size, begin, end, x.data(), kTokens * dim, shifts, scales, kEpsilon, to);
  });
  check(kRows, dx, "LayerNormModulateBackward", [&](int64_t begin, int64_t end, T* to) {
    LayerNormModulateBackward(size, begin, end, x.data(), scales, kEpsilon, y.data(), to);
  });
  check(kRows, gated, "GatedResidual", [&](int64_t begin, int64_t end, T* to) {
    GatedResidual(size, begin, end, x.data(), kTokens * dim, scales, y.data(), to);
  });
  check(kRows, product, "Gate",
        [&](int64_t begin, int64_t end, T* to) { Gate(size, begin, end, scales, y.data(), to); });
  check(kRows * dim, gelu, "GeluTanh",
        [&](int64_t begin, int64_t end, T* to) { GeluTanh(begin, end, x.data(), to); });
  check(kRows * dim, quick_gelu, "QuickGelu",
        [&](int64_t begin, int64_t end, T* to) { QuickGelu(begin, end, x.data(), to); });
  check(kRows * dim, dgelu, "GeluTanhBackward",
        [&](int64_t begin, int64_t end, T* to) { GeluTanhBackward(begin, end, x.data(), y.data(), to); });
}

TEST_P(KernelsTest, ElementwiseKernelsEqualTheirFormulasHoweverRowsAreCut) {
  for (const int64_t dim : {3, 16, 37, 131}) {
    ExpectElementwiseKernelsToBeRight<float>(dim);
    ExpectElementwiseKernelsToBeRight<Bf16>(dim);
  }
}

TEST_P(KernelsTest, Bfloat16IsRoundedToTheNearestEvenAndKeepsNaNAndInfinity) {
  const std::vector<float> values = {1.0f,    1.00390625f, 1.01171875f, -1.00390625f, 3.4e38f,
                                     1e-40f,  NAN,         INFINITY,    0.0f};
  const Tokens size{1, static_cast<int64_t>(values.size())};
  // A gate of 1 on a sum of two halves makes any f32 of two bfloat16s.
  std::vector<Bf16> upper, rest, gate(values.size(), Bf16Of(1)), out(values.size());
  for (const float value : values) {
    upper.push_back(static_cast<Bf16>(std::bit_cast<uint32_t>(value) >> 16));
    rest.push_back(std::isfinite(value) ? Bf16Of(value - FloatOf(upper.back())) : upper.back());
  }
  GatedResidual(size, 0, 1, upper.data(), 0, PerSample<Bf16>{gate.data(), 0}, rest.data(), out.data());
  for (size_t i = 0; i < values.size(); ++i) {
    if (std::isnan(values[i])) {
      EXPECT_TRUE(std::isnan(FloatOf(out[i])));
    } else {
      EXPECT_EQ(out[i], Bf16Of(values[i])) << values[i];
    }
  }
}

template <typename T>
void ExpectGroupNormToBeRight(int64_t pixels, int64_t channels, int64_t groups) {
  auto x = Random<T>(pixels * channels, 1);
  const auto slope = Random(channels, 2), offset = Random(channels, 3);
  std::vector<float> scratch(2 * channels);
  std::vector<Moments> moments(groups);
  GroupMoments(pixels, channels, groups, x.data(), scratch.data(), moments.data());
  const int64_t width = channels / groups;
  for (int64_t group = 0; group < groups; ++group) {
    double mean = 0, squares = 0;
    const double count = static_cast<double>(pixels * width);
    const auto for_each = [&](const auto& visit) {
      for (int64_t i = 0; i < pixels * width; ++i)
        visit(ValueOf(x[i / width * channels + group * width + i % width]));
    };
    for_each([&](double value) { mean += value / count; });
    for_each([&](double value) { squares += (value - mean) * (value - mean); });
    EXPECT_EQ(moments[group].count, count);
    EXPECT_NEAR(moments[group].mean, mean, 1e-5);
    EXPECT_NEAR(moments[group].squares, squares, 1e-5 * (1 + squares));
  }
  Doubles expected(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const double value = double{ValueOf(x[i])} * slope[i % channels] + offset[i % channels];
    expected[i] = value / (1 + std::exp(-value));
  }
  ScaleSilu(pixels, channels, x.data(), slope.data(), offset.data(), x.data());
  ExpectNear(x, expected, "ScaleSilu");
}

TEST_P(KernelsTest, GroupNormEqualsTheFormula) {
  for (const auto& [pixels, channels, groups] : {std::array<int64_t, 3>{1, 6, 3}, {14, 37, 1}, {256, 24, 4}}) {
    ExpectGroupNormToBeRight<float>(pixels, channels, groups);
    ExpectGroupNormToBeRight<Bf16>(pixels, channels, groups);
  }
}

}  // namespace
}  // namespace flowawr::kernels
