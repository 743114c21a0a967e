#include "common/tensor/device_error.h"

#include <c10/util/Exception.h>

#include <stdexcept>

#include "common/process/exit_code.h"
#include "common/tensor/device_facts.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace flowawr {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int kTryAgain = 75;  // of sysexits.h: what the supervisor starts again

const at::Device kCard(at::kCUDA, 1);

std::string MessageOf(const absl::Status& status) { return std::string(status.message()); }

TEST(OnDevice, LeavesAloneWhatDoesNotThrow) {
  EXPECT_TRUE(OnDevice("sampling", kCard, [] { return absl::OkStatus(); }).ok());
  const absl::Status failed = OnDevice("sampling", kCard, [] { return absl::NotFoundError("gone"); });
  EXPECT_EQ(failed, absl::NotFoundError("gone"));
  EXPECT_FALSE(IsDeviceError(failed));
}

TEST(OnDevice, EndsTheProcessWhenTheDeviceFails) {
  const absl::Status failed = OnDevice("decoding 4 images", kCard, []() -> absl::Status {
    throw c10::AcceleratorError(
        {__func__, __FILE__, __LINE__}, 700,
        "CUDA error: an illegal memory access was encountered\nCompile with TORCH_USE_CUDA_DSA");
  });
  EXPECT_TRUE(IsDeviceError(failed));
  EXPECT_EQ(ExitCodeOf(failed), kTryAgain);
  EXPECT_THAT(MessageOf(failed), AllOf(HasSubstr("the device failed: decoding 4 images on cuda:1"),
                                       HasSubstr("illegal memory access"), HasSubstr("(error 700)"),
                                       Not(HasSubstr("TORCH_USE_CUDA_DSA"))));
}

TEST(OnDevice, SaysWhatToLowerWhenMemoryRunsOut) {
  const auto run_out = []() -> absl::Status {
    throw c10::OutOfMemoryError({__func__, __FILE__, __LINE__}, "CUDA out of memory. Tried to allocate 9 GiB.");
  };
  const absl::Status failed = OnDevice("sampling 24 images", kCard, run_out, "Lower --evaluation-rows");
  EXPECT_TRUE(IsDeviceError(failed));
  EXPECT_EQ(ExitCodeOf(failed), kTryAgain);
  EXPECT_THAT(MessageOf(failed), AllOf(HasSubstr("out of memory: sampling 24 images on cuda:1"),
                                       HasSubstr("Tried to allocate 9 GiB"), HasSubstr("Lower --evaluation-rows")));
}

TEST(OnDevice, KnowsMemoryThatRanOutByWhatTheDriverAndLibrariesSayOfIt) {
  const auto driver = []() -> absl::Status {
    throw c10::AcceleratorError({__func__, __FILE__, __LINE__}, 2, "CUDA error: out of memory");
  };
  const auto library = []() -> absl::Status {
    TORCH_CHECK(false, "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`");
  };
  for (const absl::Status& failed : {OnDevice("sampling", kCard, driver), OnDevice("sampling", kCard, library)}) {
    EXPECT_TRUE(absl::IsResourceExhausted(failed)) << failed;
    EXPECT_TRUE(IsDeviceError(failed)) << failed;
  }
}

// LibTorch's exception for all else.
TEST(OnDevice, EndsTheProcessWhenALibraryOfTheDeviceFails) {
  const auto fail = [](at::Device device, const std::string& words) {
    return OnDevice("sampling", device, [&]() -> absl::Status { TORCH_CHECK(false, words); });
  };
  for (const char* words : {"CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`",
                            "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR"}) {
    EXPECT_TRUE(IsDeviceError(fail(kCard, words))) << words;
    EXPECT_EQ(ExitCodeOf(fail(kCard, words)), kTryAgain) << words;
    EXPECT_FALSE(IsDeviceError(fail(at::kCPU, words))) << words;
  }
  for (const char* words : {"CUDA error: CUBLAS_STATUS_NOT_SUPPORTED when calling `cublasGemmEx`",
                            "cuDNN error: CUDNN_STATUS_BAD_PARAM", "CUDA error: CUBLAS_STATUS_INVALID_VALUE"})
    EXPECT_FALSE(IsDeviceError(fail(kCard, words))) << words;
}

TEST(OnDevice, TellsOtherExceptionsAsErrorsAfterWhichTheProcessGoesOn) {
  const absl::Status shape =
      OnDevice("sampling", kCard, []() -> absl::Status { TORCH_CHECK(false, "mat1 and mat2 do not fit"); });
  EXPECT_EQ(shape.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(MessageOf(shape), HasSubstr("sampling: mat1 and mat2 do not fit"));
  EXPECT_FALSE(IsDeviceError(shape));
  EXPECT_EQ(OnDevice("sampling", kCard, []() -> absl::Status { throw std::length_error("too long"); }),
            absl::InternalError("sampling: too long"));
}

TEST(DeviceFacts, SayNothingOfWhatCountsNothing) {
  EXPECT_EQ(DescribeDevice(at::kCPU), "cpu");
  EXPECT_FALSE(MemoryOf(at::kCPU).has_value());
  EXPECT_EQ(DescribeMemory(MemoryOf(at::kCPU)), "");
}

TEST(DeviceFacts, WriteMemoryInGigabytes) {
  EXPECT_EQ(
      DescribeMemory(DeviceMemory{.allocated = 61'200'000'000, .reserved = 70'040'000'000, .peak = 75'000'000'000}),
      "61.2 GB allocated, 70.0 GB reserved, at most 75.0 GB allocated");
}

}  // namespace
}  // namespace flowawr
