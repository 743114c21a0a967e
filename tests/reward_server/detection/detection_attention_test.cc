#include "reward_server/detection/detection_attention.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <string>

#include "common/nn/instruction_set.h"
#include "tests/testing/tensor_error.h"

namespace flowawr {
namespace {

constexpr double kBound = 2e-6;

// Every kernel in every form that this processor can run.
class DetectionAttentionTest : public testing::TestWithParam<kernels::InstructionSet> {
 protected:
  void SetUp() override { at::manual_seed(0); }
  kernels::ScopedInstructionSet set_{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(InstructionSets, DetectionAttentionTest,
                         testing::ValuesIn(kernels::AvailableInstructionSets()),
                         [](const auto& info) { return std::string(kernels::NameOf(info.param)); });

struct Grid {
  int64_t height, width, window, shift, heads, head_dim;
};

TEST_P(DetectionAttentionTest, AttendsInWindowsAsLibTorchDoes) {
  for (const Grid& grid : {Grid{8, 8, 4, 0, 2, 16}, Grid{8, 12, 4, 2, 3, 8}, Grid{9, 5, 7, 3, 2, 32},
                           Grid{3, 10, 4, 2, 1, 5}, Grid{1, 2, 7, 3, 2, 8}}) {
    const at::Tensor qkv = at::randn({2, grid.height, grid.width, 3 * grid.heads * grid.head_dim});
    const at::Tensor padding = at::randn({3 * grid.heads * grid.head_dim});
    const at::Tensor table = at::randn({(2 * grid.window - 1) * (2 * grid.window - 1), grid.heads});
    const at::Tensor bias = WindowBias(table, grid.window);
    const WindowAttentionOptions options{.heads = grid.heads, .window = grid.window, .shift = grid.shift};
    EXPECT_LT(RelativeError(AttendInWindows(qkv, padding, bias, options),
                            AttendInWindowsByLibTorch(qkv, padding, bias, options)),
              kBound)
        << grid.height << "x" << grid.width << " by " << grid.window;
  }
}

TEST_P(DetectionAttentionTest, SamplesDeformablyAsGridSampleDoes) {
  for (const int64_t head_dim : {32, 16, 8, 7, 20}) {
    const SamplingOptions options{.levels = {{2, 3}, {4, 6}, {8, 12}}, .heads = 2, .points = 4};
    const int64_t tokens = 6 + 24 + 96;
    const at::Tensor value = at::randn({2, tokens, 2 * head_dim});
    // Some offsets leave the maps, some by far.
    const at::Tensor projection = 3 * at::randn({2, tokens, 2 * 3 * 4 * 3});
    EXPECT_LT(RelativeError(SampleDeformably(value, projection, options),
                            SampleDeformablyByLibTorch(value, projection, options)),
              kBound)
        << head_dim;
  }
}

TEST_P(DetectionAttentionTest, SurvivesOffsetsThatAreNoNumbers) {
  const SamplingOptions options{.levels = {{2, 3}}, .heads = 1, .points = 4};
  at::Tensor projection = at::full({1, 6, 12}, std::numeric_limits<double>::quiet_NaN());
  SampleDeformably(at::randn({1, 6, 8}), projection, options);
  projection.fill_(1e30);
  SampleDeformably(at::randn({1, 6, 8}), projection, options);
}

TEST(WindowBiasTest, GivesTheSameNumberToTheSameStep) {
  const at::Tensor bias = WindowBias(at::arange(9).to(at::kFloat).unsqueeze(1), 2);  // [1, 4, 16]
  // From token 0 (top left) to 1 (right of it): one column less, none of rows: row 1, column 0 of 3 x 3.
  EXPECT_EQ(bias[0][0][0].item<float>(), 4);
  EXPECT_EQ(bias[0][0][1].item<float>(), 3);
  EXPECT_EQ(bias[0][2][3].item<float>(), 3);
  EXPECT_EQ(bias[0][3][0].item<float>(), 8);
  EXPECT_EQ(bias[0][0][4].item<float>(), -1e30f);
}

}  // namespace
}  // namespace flowawr
