#include "common/tensor/device_stream.h"

#include <ATen/DeviceAccelerator.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include "tests/testing/fake_device/fake_failure.h"
#include "tests/testing/test_device.h"

namespace flowawr {
namespace {

c10::Stream CurrentStreamOf(at::Device device) { return at::accelerator::getCurrentStream(device.index()); }

TEST(OwnStreamTest, IsTheThreadsUntilItEnds) {
  const at::Device device = TestDevice();
  const c10::Stream before = CurrentStreamOf(device);
  {
    const OwnStream own(device);
    const c10::Stream first = CurrentStreamOf(device);
    EXPECT_NE(first, before);
    const OwnStream another(device);
    EXPECT_NE(CurrentStreamOf(device), first);
  }
  EXPECT_EQ(CurrentStreamOf(device), before);
}

TEST(OwnStreamTest, IsNothingOnTheCpu) {
  const OwnStream own(at::kCPU);
  AwaitStream(at::kCPU);
  const at::Tensor values = at::ones({3});
  EXPECT_TRUE(ToHostSoon(values).is_same(values));
}

TEST(ToHostSoonTest, BringsWhatTheStreamMakesOnceItWasWaitedFor) {
  const at::Device device = TestDevice();
  const OwnStream own(device);
  const at::Tensor made = (at::arange(6).to(device) + 1).view({2, 3}).t();
  fake_device::TakeCounts();
  const at::Tensor host = ToHostSoon(made);
  if (fake_device::IsThere()) {
    EXPECT_EQ(fake_device::TakeCounts().syncs, 0);
  }
  AwaitStream(device);
  EXPECT_TRUE(at::equal(host, (at::arange(6) + 1).view({2, 3}).t()));
}

// Memory of LibTorch's own would end the process where it is freed.
TEST(ToHostSoonTest, OutlivesADeviceThatFailsOnTheWay) {
  if (!fake_device::IsThere()) GTEST_SKIP() << "a real device must not fail";
  const at::Device device = TestDevice();
  const OwnStream own(device);
  at::Tensor host = ToHostSoon(at::arange(6).to(device) + 1);
  const fake_device::Failure failure;
  EXPECT_THROW(AwaitStream(device), c10::AcceleratorError);
  host.reset();
}

}  // namespace
}  // namespace flowawr
