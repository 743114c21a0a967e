#include "common/tensor/cuda_driver.h"

#include <stdlib.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;

TEST(CudaDriver, TellsItsVersionAndItsCards) {
  const absl::StatusOr<CudaDriver> driver = AskCudaDriver(PRETEND_CUDA_DRIVER);
  ASSERT_TRUE(driver.ok()) << driver.status();
  EXPECT_EQ(driver->version, "12.8");
  ASSERT_EQ(driver->devices.size(), 2);
  EXPECT_EQ(driver->devices[1].name, "Card 11");
  EXPECT_EQ(driver->devices[1].pci_bus_id, "0000:0b:00.0");
  EXPECT_EQ(driver->devices[1].memory_bytes, int64_t{11} << 30);
}

TEST(CudaDriver, SaysWhatIsMissing) {
  const absl::Status none = AskCudaDriver("libno-such-driver.so.1").status();
  EXPECT_TRUE(absl::IsNotFound(none)) << none;
  EXPECT_THAT(std::string(none.message()), HasSubstr("no NVIDIA driver (libno-such-driver.so.1)"));
  EXPECT_TRUE(absl::IsNotFound(AskCudaDriver("libm.so.6").status()));
}

TEST(CudaDriver, PassesItsErrorOn) {
  setenv("PRETEND_CUDA_ERROR", "100", /*overwrite=*/1);
  const absl::Status error = AskCudaDriver(PRETEND_CUDA_DRIVER).status();
  unsetenv("PRETEND_CUDA_ERROR");
  EXPECT_TRUE(absl::IsFailedPrecondition(error)) << error;
  EXPECT_THAT(std::string(error.message()), HasSubstr("cuInit with error 100: no device"));
}

}  // namespace
}  // namespace flowawr
