#include "common/tensor/learner_devices.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/testing/fake_device/fake_device.h"

namespace flowawr {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class LearnerDevicesTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { fake_device::Device(); }  // the machine has fake:0 and fake:1
};

TEST_F(LearnerDevicesTest, AreThoseThatAreNamed) {
  EXPECT_THAT(*LearnerDevices({"fake:1", "fake"}, 1), ElementsAre("fake:1", "fake:0"));
  EXPECT_THAT(*LearnerDevices({"cpu"}, 1), ElementsAre("cpu"));
}

TEST_F(LearnerDevicesTest, AreTheFirstOnesByThemselves) {
  EXPECT_THAT(*LearnerDevices({"auto"}, 1), ElementsAre("fake:0"));
  EXPECT_THAT(*LearnerDevices({"auto"}, 2), ElementsAre("fake:0", "fake:1")) << "one for each rank";
  EXPECT_THAT(*LearnerDevices({"auto"}, 3), ElementsAre("fake:0", "fake:1")) << "no more than there are";
}

TEST_F(LearnerDevicesTest, RefusesOneTwiceUnderAnyName) {
  for (const std::string twin : {"fake", "fake:0", "auto"}) {
    const absl::Status status = LearnerDevices({"fake:0", twin}, 2).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << twin;
    EXPECT_THAT(std::string(status.message()), HasSubstr("fake:0 is named twice"));
  }
}

TEST_F(LearnerDevicesTest, RefusesTheCpuBesideAccelerators) {
  EXPECT_THAT(std::string(LearnerDevices({"fake:0", "cpu"}, 1).status().message()), HasSubstr("cpu beside accelerators"));
}

TEST_F(LearnerDevicesTest, RefusesWhatTheMachineLacks) {
  EXPECT_TRUE(absl::IsInvalidArgument(LearnerDevices({"fake:7"}, 1).status()));
}

TEST(DevicesOfRank, AreSharesInOrder) {
  const std::vector<std::string> four = {"a", "b", "c", "d"};
  EXPECT_THAT(DevicesOfRank(four, 0, 1), ElementsAre("a", "b", "c", "d"));
  EXPECT_THAT(DevicesOfRank(four, 0, 2), ElementsAre("a", "b"));
  EXPECT_THAT(DevicesOfRank(four, 1, 2), ElementsAre("c", "d"));
  EXPECT_THAT(DevicesOfRank(four, 3, 4), ElementsAre("d"));
  EXPECT_THAT(DevicesOfRank(four, 0, 3), ElementsAre("a"));
  EXPECT_THAT(DevicesOfRank(four, 2, 3), ElementsAre("c", "d"));
}

TEST(DevicesOfRank, AreSharedWhereTheyAreFewer) {
  EXPECT_THAT(DevicesOfRank({"cpu"}, 2, 3), ElementsAre("cpu"));
  EXPECT_THAT(DevicesOfRank({"a", "b"}, 1, 4), ElementsAre("a"));
  EXPECT_THAT(DevicesOfRank({"a", "b"}, 3, 4), ElementsAre("b"));
}

TEST(WarningOfSharedDevices, IsOfMoreRanksThanAccelerators) {
  EXPECT_THAT(WarningOfSharedDevices({"cuda:0", "cuda:1"}, 3),
              AllOf(HasSubstr("3 ranks of this machine share 2 devices"), HasSubstr("run at most 2")));
  EXPECT_EQ(WarningOfSharedDevices({"cuda:0", "cuda:1"}, 2), "");
  EXPECT_EQ(WarningOfSharedDevices({"cpu"}, 4), "");
}

}  // namespace
}  // namespace flowawr
