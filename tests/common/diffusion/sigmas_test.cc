#include "common/diffusion/sigmas.h"

#include <gtest/gtest.h>

namespace flowawr {
namespace {

// Stable Diffusion 3.5's schedule, written down from diffusers.
TEST(FlowMatchSigmasTest, GivesTheKnownValuesOfShiftThree) {
  const std::vector<float> expected = {1,         .9601293f, .9133490f, .8576923f, .7903683f, .7072785f,
                                       .6021506f, .4648760f, .2780488f, .0089286f, 0};
  const std::vector<float> sigmas = FlowMatchSigmas(10, 3);
  ASSERT_EQ(sigmas.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(sigmas[i], expected[i], 6e-8) << i;

  const std::vector<float> forty = FlowMatchSigmas(40, 3);
  ASSERT_EQ(forty.size(), 41u);
  EXPECT_NEAR(forty[1], .9913309f, 6e-8);
  EXPECT_NEAR(forty[37], .1465087f, 6e-8);
  EXPECT_NEAR(forty[38], .0810458f, 6e-8);
  EXPECT_NEAR(forty[39], .0089286f, 6e-8);
}

TEST(FlowMatchSigmasTest, OneStepGoesFromNoiseToPicture) {
  EXPECT_EQ(FlowMatchSigmas(1, 3), (std::vector<float>{1, 0}));
}

TEST(FlowMatchSigmasTest, WithoutShiftTheyAreEvenlySpaced) {
  const std::vector<float> sigmas = FlowMatchSigmas(4, 1, 1000);
  for (int i = 0; i < 4; ++i) EXPECT_NEAR(sigmas[i], 1 - i * 0.999 / 3, 6e-8) << i;
}

TEST(FlowMatchSigmasTest, AlwaysFallFromOneToZero) {
  for (const int steps : {1, 2, 7, 50, 999}) {
    for (const double shift : {0.1, 1.0, 3.0, 12.0}) {
      const std::vector<float> sigmas = FlowMatchSigmas(steps, shift);
      ASSERT_EQ(sigmas.size(), static_cast<size_t>(steps) + 1);
      EXPECT_EQ(sigmas.front(), 1);
      EXPECT_EQ(sigmas.back(), 0);
      for (int i = 0; i < steps; ++i) EXPECT_GT(sigmas[i], sigmas[i + 1]) << i << " of " << steps << ", " << shift;
    }
  }
}

}  // namespace
}  // namespace flowawr
