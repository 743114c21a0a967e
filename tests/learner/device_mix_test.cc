#include "learner/device_mix.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace flowawr {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(DeviceMixTest, SaysNothingOfLikeDevices) {
  DeviceMix mix;
  EXPECT_EQ(mix.Add("a", "cuda:0 (NVIDIA H100 80GB HBM3)"), "");
  EXPECT_EQ(mix.Add("b", "cuda:1 (NVIDIA H100 80GB HBM3)"), "");
  EXPECT_EQ(mix.Add("old", ""), "");
  DeviceMix unnamed;
  EXPECT_EQ(unnamed.Add("a", "cuda:0"), "");
  EXPECT_EQ(unnamed.Add("b", "cuda:1"), "");
}

TEST(DeviceMixTest, WarnsOnceOfEachKindThatIsUnlike) {
  DeviceMix mix;
  EXPECT_EQ(mix.Add("a", "cuda:0 (NVIDIA H100 80GB HBM3)"), "");
  EXPECT_THAT(mix.Add("b", "cpu"), AllOf(HasSubstr("actor b samples on cpu"), HasSubstr("NVIDIA H100 80GB HBM3")));
  EXPECT_EQ(mix.Add("b", "cpu"), "");
  EXPECT_THAT(mix.Add("c", "cuda:0 (NVIDIA L40S)"), HasSubstr("actor c"));
}

}  // namespace
}  // namespace flowawr
