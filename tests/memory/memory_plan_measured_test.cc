// Small models of a few layers, wide enough that activations are most of what a step takes.
#include "tests/memory/measured_step.h"

namespace flowawr {
namespace {

const Sizes kSmall = {3, 8, 64, 512, {64, 128, 128}};

TEST_F(MemoryPlanMeasured, OfATrainingStepThatKeepsItsActivations) {
  Write(kSmall, "bfloat16");
  ExpectAsPredicted({.what = "train", .height = 384, .width = 512, .rows = 3, .steps = 2, .text_tokens = 77});
}

TEST_F(MemoryPlanMeasured, OfATrainingStepThatComputesThemAgain) {
  Write(kSmall, "bfloat16");
  ExpectAsPredicted({.what = "train",
                     .height = 384,
                     .width = 512,
                     .rows = 4,
                     .checkpointed_blocks = 3,
                     .text_tokens = 77,
                     .kl_beta = 0.1});
}

TEST_F(MemoryPlanMeasured, OfATrainingStepInFloat32OnTwoThreads) {
  Write(kSmall, "float32");
  ExpectAsPredicted(
      {.what = "train",
       .dtype = "float32",
       .height = 256,
       .width = 256,
       .rows = 2,
       .checkpointed_blocks = 1,
       .threads = 2,
       .steps = 8,  // in some of them both threads are at their highest together, however busy the machine
       .text_tokens = 77});
}

TEST_F(MemoryPlanMeasured, OfSampling) {
  Write(kSmall, "bfloat16");
  ExpectAsPredicted({.what = "sample", .height = 512, .width = 512, .rows = 6, .text_tokens = 77});
}

TEST_F(MemoryPlanMeasured, OfDecoding) {
  Write(kSmall, "bfloat16");
  ExpectAsPredicted({.what = "decode", .height = 512, .width = 768, .rows = 1});
  Write(kSmall, "float32");
  ExpectAsPredicted({.what = "decode", .dtype = "float32", .height = 512, .width = 512, .rows = 1});
}

}  // namespace
}  // namespace flowawr
