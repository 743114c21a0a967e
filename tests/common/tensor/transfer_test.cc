#include "common/tensor/transfer.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include "common/tensor/device_transfers.h"
#include "common/tensor/devices.h"
#include "tests/testing/test_device.h"

namespace flowawr {
namespace {

TransferredBytes Of(at::Device device) { return TransfersByDevice()[NameOf(device)]; }

TEST(TransferTest, CountsWhatGoesUpAndWhatComesDown) {
  const TransferredBytes before = Of(TestDevice());
  const at::Tensor values = at::arange(6, at::kFloat).view({2, 3}), there = MovedTo(values, TestDevice());
  EXPECT_EQ(there.device(), TestDevice());
  const at::Tensor back = MovedTo(there.to(at::kByte), at::kCPU);
  EXPECT_TRUE(at::equal(back, values.to(at::kByte)));
  EXPECT_EQ(Of(TestDevice()).up - before.up, 24);
  EXPECT_EQ(Of(TestDevice()).down - before.down, 6);
}

TEST(TransferTest, WhatIsThereAlreadyStaysItselfAndCountsNothing) {
  const at::Tensor there = at::ones({3}).to(TestDevice()), here = at::ones({3});
  const TransferredBytes before = Of(TestDevice());
  EXPECT_TRUE(MovedTo(there, TestDevice()).is_same(there));
  EXPECT_TRUE(MovedTo(here, at::kCPU).is_same(here));
  EXPECT_EQ(Of(TestDevice()).up, before.up);
  EXPECT_EQ(Of(TestDevice()).down, before.down);
  EXPECT_FALSE(TransfersByDevice().contains("cpu"));
}

TEST(TransferTest, CopiesBetweenDevicesAreNotOfTheHost) {
  const std::vector<at::Device> devices = Accelerators();
  if (devices.size() < 2) GTEST_SKIP() << "there is one device";
  const at::Tensor first = at::ones({3}).to(devices[0]);
  const TransferredBytes before[] = {Of(devices[0]), Of(devices[1])};
  MovedTo(first, devices[1]);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(Of(devices[i]).up, before[i].up) << i;
    EXPECT_EQ(Of(devices[i]).down, before[i].down) << i;
  }
}

}  // namespace
}  // namespace flowawr
