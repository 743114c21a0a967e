// Holds what the service counts of its transfers (common/tensor/device_transfers.h) against what crosses over to the
// pretend device and back. For tests on that device, which alone counts.
#pragma once

#include <gtest/gtest.h>

#include "common/tensor/device_transfers.h"
#include "tests/testing/fake_device/fake_device.h"

namespace flowawr {

// From its construction on, which begins the device's counts anew.
class CountedTransfers {
 public:
  CountedTransfers() { fake_device::TakeCounts(); }

  // `crossed` is what TakeCounts() has given since.
  void ExpectAllOf(const fake_device::Counts& crossed) const {
    if (!fake_device::IsThere()) return;
    const TransferredBytes now = Sum();
    EXPECT_EQ(now.up - before_.up, crossed.uploaded_bytes) << "uploads that nobody counts, or counts that are no uploads";
    EXPECT_EQ(now.down - before_.down, crossed.downloaded_bytes) << "likewise, of downloads";
  }

 private:
  static TransferredBytes Sum() {
    TransferredBytes sum;
    for (const auto& [device, bytes] : TransfersByDevice()) sum.up += bytes.up, sum.down += bytes.down;
    return sum;
  }

  const TransferredBytes before_ = Sum();
};

}  // namespace flowawr
