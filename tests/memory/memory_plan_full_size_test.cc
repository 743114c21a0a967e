// Stable Diffusion 3.5 Medium at its true sizes: 8 GB and, on two idle cores, ten minutes.
#include "tests/memory/measured_step.h"

namespace flowawr {
namespace {

using MemoryPlanFullSize = MemoryPlanMeasured;

const Sizes kTrue = {24, 24, 384, 4096, {128, 256, 512, 512}};

TEST_F(MemoryPlanFullSize, OfTraining) {
  Write(kTrue, "bfloat16");
  for (const int64_t rows : {1, 2}) {
    for (const int64_t checkpointed : {0, 24})
      ExpectAsPredicted(
          {.what = "train", .height = 512, .width = 512, .rows = rows, .checkpointed_blocks = checkpointed});
  }
  ExpectAsPredicted({.what = "train", .height = 1024, .width = 1024, .rows = 1, .checkpointed_blocks = 24});
}

TEST_F(MemoryPlanFullSize, OfSamplingAndDecoding) {
  Write(kTrue, "bfloat16");
  ExpectAsPredicted({.what = "sample", .height = 512, .width = 512, .rows = 4});
  for (const int64_t side : {512, 1024}) ExpectAsPredicted({.what = "decode", .height = side, .width = side});
}

}  // namespace
}  // namespace flowawr
