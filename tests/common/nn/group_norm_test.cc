#include "common/nn/group_norm.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <utility>

#include "tests/testing/tensor_error.h"

namespace flowawr {
namespace {

constexpr double kEpsilon = 1e-6;

struct Case {
  int64_t batch, channels, groups, height, width;
  double mean = 0;
};

// In memory with the channels last; far from zero on average where `mean` says so.
at::Tensor Images(const Case& c, at::ScalarType dtype) {
  at::manual_seed(1);
  const at::Tensor x = at::randn({c.batch, c.channels, c.height, c.width}) + c.mean;
  return x.to(dtype).contiguous(at::MemoryFormat::ChannelsLast);
}

struct Affine {
  at::Tensor weight, bias;
};

Affine AffineOf(int64_t channels, at::ScalarType dtype) {
  at::manual_seed(2);
  return {(at::randn({channels}) * 0.1 + 1).to(dtype), at::randn({channels}).to(dtype)};
}

at::Tensor InDouble(const at::Tensor& x, int64_t groups, const Affine& affine) {
  return at::silu(
      at::group_norm(x.to(at::kDouble), groups, affine.weight.to(at::kDouble), affine.bias.to(at::kDouble), kEpsilon));
}

class GroupNormSiluTest : public testing::TestWithParam<Case> {};

// Chunks whole and cut, few and many channels, a mean far from zero.
INSTANTIATE_TEST_SUITE_P(Sizes, GroupNormSiluTest,
                         testing::Values(Case{1, 128, 32, 40, 33}, Case{2, 24, 4, 7, 5}, Case{1, 6, 3, 1, 2},
                                         Case{3, 64, 32, 16, 16}, Case{1, 32, 8, 64, 64, /*mean=*/300}));

TEST_P(GroupNormSiluTest, EqualsTheFormula) {
  const Case& c = GetParam();
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor x = Images(c, dtype);
    const Affine affine = AffineOf(c.channels, dtype);
    const at::Tensor out = GroupNormSilu(x, c.groups, affine.weight, affine.bias, kEpsilon);
    EXPECT_EQ(out.scalar_type(), dtype);
    // The product of mean and slope cancels: a mean of 300 deviations costs that many roundings.
    const double bound = dtype == at::kBFloat16 ? 4e-3 : c.mean == 0 ? 1e-6 : 1e-4;
    EXPECT_LE(RelativeError(out.to(at::kDouble), InDouble(x, c.groups, affine)), bound) << dtype;
  }
}

TEST_P(GroupNormSiluTest, HasTheSameBitsAloneAndOnAnyNumberOfThreads) {
  const Case& c = GetParam();
  const at::Tensor x = Images(c, at::kFloat);
  const Affine affine = AffineOf(c.channels, at::kFloat);
  at::set_num_threads(1);
  const at::Tensor together = GroupNormSilu(x, c.groups, affine.weight, affine.bias, kEpsilon);
  at::set_num_threads(3);
  EXPECT_TRUE(GroupNormSilu(x, c.groups, affine.weight, affine.bias, kEpsilon).equal(together));
  for (int64_t sample = 0; sample < c.batch; ++sample) {
    const at::Tensor alone = x.narrow(0, sample, 1).contiguous(at::MemoryFormat::ChannelsLast);
    EXPECT_TRUE(
        GroupNormSilu(alone, c.groups, affine.weight, affine.bias, kEpsilon).equal(together.narrow(0, sample, 1)));
  }
}

TEST(GroupNormSiluInPlaceTest, OverwritesOnlyWhatNobodyElseHolds) {
  const Affine affine = AffineOf(8, at::kFloat);
  at::Tensor x = Images({1, 8, 4, 5, 5}, at::kFloat);
  const at::Tensor before = x.clone();
  const at::Tensor view = x.view(x.sizes());  // another tensor on the same memory
  const at::Tensor expected = GroupNormSilu(x, 4, affine.weight, affine.bias, kEpsilon);
  EXPECT_TRUE(x.equal(before));
  EXPECT_TRUE(GroupNormSilu(std::move(x), 4, affine.weight, affine.bias, kEpsilon).equal(expected));
  EXPECT_TRUE(view.equal(before));

  at::Tensor owned = before.clone();
  const void* memory = owned.const_data_ptr();
  const at::Tensor out = GroupNormSilu(std::move(owned), 4, affine.weight, affine.bias, kEpsilon);
  EXPECT_EQ(out.const_data_ptr(), memory);
  EXPECT_TRUE(out.equal(expected));
}

TEST(GroupNormSiluInPlaceTest, TakesOtherMemoryFormatsToo) {
  const Affine affine = AffineOf(8, at::kFloat);
  const at::Tensor x = Images({2, 8, 4, 5, 5}, at::kFloat).contiguous();
  EXPECT_LE(
      RelativeError(GroupNormSilu(x, 4, affine.weight, affine.bias, kEpsilon).to(at::kDouble), InDouble(x, 4, affine)),
      1e-6);
}

}  // namespace
}  // namespace flowawr
