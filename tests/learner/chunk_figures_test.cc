#include "learner/chunk_figures.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include "tests/testing/fake_device/fake_device.h"

namespace flowawr {
namespace {

// Chunks of two rows, whose figures are their number.
ChunkFigures Numbered(int number, at::Device device) {
  const double x = number;
  return {.group = static_cast<size_t>(number),
          .names = {"kl"},
          .steps = {0, number},
          .values = at::tensor({2 * x, x, 0.0, 4 * x, x, x}, at::kDouble).to(device)};
}

// As engines of several devices give them: whichever was ready.
TEST(SumFigures, ReadsEachDeviceOnceInTheChunksOrder) {
  std::vector<ChunkFigures> chunks, on_host;
  for (const int number : {1, 2, 3, 4, 5, 6}) {
    chunks.push_back(Numbered(number, fake_device::Device(number % 2)));
    on_host.push_back(Numbered(number, at::kCPU));
  }
  BatchGradient total{.rows = 12}, wanted{.rows = 12};
  SumFigures(on_host, wanted);
  fake_device::TakeCounts();
  SumFigures(chunks, total);
  EXPECT_EQ(fake_device::TakeCounts().downloads, 2);
  EXPECT_EQ(total.loss, wanted.loss);
  EXPECT_EQ(total.figures, wanted.figures);
  EXPECT_EQ(total.figures.at("loss/sigma_5"), 5);
}

}  // namespace
}  // namespace flowawr
