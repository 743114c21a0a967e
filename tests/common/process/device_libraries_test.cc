#include "common/process/device_libraries.h"

#include <cstdlib>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace flowawr {
namespace {

constexpr char kCublas[] = "CUBLAS_WORKSPACE_CONFIG";

TEST(PrepareDeviceLibraries, HasCublasGiveTheSameBitsUnlessTheUserWantsOtherwise) {
  unsetenv(kCublas);
  PrepareDeviceLibraries();
  EXPECT_STREQ(std::getenv(kCublas), ":4096:8");
  setenv(kCublas, ":16:8", /*overwrite=*/1);
  PrepareDeviceLibraries();
  EXPECT_STREQ(std::getenv(kCublas), ":16:8");
}

}  // namespace
}  // namespace flowawr
