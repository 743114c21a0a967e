// Which device the tests of devices compute on: the pretend one (tests/testing/fake_device), or a real one that
// FLOWAWR_TEST_DEVICE names. On a real one the same numbers are compared; what crosses over is counted on the pretend one
// alone, so such assertions stand behind fake_device::IsThere().
#pragma once

#include <gtest/gtest.h>
#include <torch/types.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "tests/testing/fake_device/fake_device.h"
#include "tests/testing/named_device.h"
#include "tests/testing/tensor_error.h"

namespace flowawr {

inline at::Device TestDevice() { return NamedTestDevice().value_or(fake_device::Device()); }

// `bound` is for the pretend device, which computes with the CPU's arithmetic; a real one adds up in another order.
inline double DeviceBound(at::ScalarType dtype, double bound) {
  if (fake_device::IsThere()) return bound;
  return bound * (dtype == at::kFloat ? 25 : 2);
}

// The test's report (--gtest_output=json:FILE) gets the relative error and its bound, by `what`, for scripts/gpu-check.
inline void ExpectClose(const std::string& what, const at::Tensor& actual, const at::Tensor& expected, double bound) {
  const double error = RelativeError(actual, expected);
  EXPECT_LT(error, bound) << what;
  testing::Test::RecordProperty("relative_error." + what, absl::StrCat(error));
  testing::Test::RecordProperty("bound." + what, absl::StrCat(bound));
}

}  // namespace flowawr
