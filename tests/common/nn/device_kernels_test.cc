// The device kernels' bodies and how they are reached, on the fake device with loops of the host in a device's place.
#include "common/nn/device_kernels.h"

#include <c10/util/Exception.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cstdlib>
#include <map>
#include <string>

#include "common/nn/device_dispatch.h"
#include "common/nn/fused_ops.h"
#include "common/nn/group_norm.h"
#include "common/tensor/device_error.h"
#include "tests/testing/fake_device/fake_device.h"
#include "tests/testing/host_kernels/host_kernels.h"
#include "tests/testing/kernel_comparisons/kernel_comparisons.h"
#include "tests/testing/tensor_error.h"

namespace flowawr {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Key;

const at::Device kFake = fake_device::Device();

TEST(DeviceKernelsTest, ComputeWhatLibTorchComputes) {
  const HostKernels kernels;
  HostKernels::TakeCalls();
  const std::vector<KernelComparison> comparisons = CompareKernels(kFake);
  EXPECT_GT(comparisons.size(), 200u);
  for (const KernelComparison& comparison : comparisons)
    EXPECT_TRUE(comparison.IsWithin()) << comparison.what << ": " << comparison.error << ", bound " << comparison.bound;
  const std::map<std::string, int> calls = HostKernels::TakeCalls();
  for (const char* kernel : {"layer_norm_modulate", "layer_norm_modulate_backward", "gated_residual", "gate",
                             "gelu_tanh", "gelu_tanh_backward", "join_heads", "join_heads_backward", "group_norm_silu"})
    EXPECT_THAT(calls, Contains(Key(kernel)));
}

TEST(DeviceKernelsTest, TakeOverWhereNothingNeedsGradients) {
  const HostKernels kernels;
  const at::Tensor x = at::ones({2, 3, 8}, at::TensorOptions(kFake)), gate = at::ones({2, 8}, x.options());
  at::Tensor y = x.clone();
  const void* memory = y.const_data_ptr();
  EXPECT_EQ(GatedResidual(x, gate, y).const_data_ptr(), memory);
  EXPECT_EQ(GeluTanh(y).const_data_ptr(), memory);
  at::Tensor image = at::ones({1, 8, 2, 2}, x.options()).contiguous(at::MemoryFormat::ChannelsLast);
  const at::Tensor weight = at::ones({8}, x.options());
  memory = image.const_data_ptr();
  EXPECT_EQ(GroupNormSilu(std::move(image), 4, weight, weight, 1e-6).const_data_ptr(), memory);
}

TEST(DeviceKernelsTest, LeaveOtherTypesAndFormatsToLibTorch) {
  const HostKernels kernels;
  HostKernels::TakeCalls();
  const at::Tensor x = at::linspace(-3, 3, 48, at::kDouble).view({2, 3, 8});
  EXPECT_LT(RelativeError(GeluTanh(x.to(kFake)), at::gelu(x, "tanh")), 1e-12);
  EXPECT_LT(RelativeError(GeluTanh(x.to(kFake, at::kHalf)), at::gelu(x, "tanh")), 1e-2);
  const at::Tensor planes = at::linspace(-3, 3, 64).view({1, 4, 4, 4}), weight = at::ones({4});
  EXPECT_LT(RelativeError(GroupNormSilu(planes.to(kFake), 2, weight.to(kFake), weight.to(kFake), 1e-6),
                          at::silu(at::group_norm(planes, 2, weight, weight, 1e-6))),
            1e-6);
  EXPECT_THAT(HostKernels::TakeCalls(), IsEmpty());
}

TEST(DeviceKernelsTest, KernelsThatDoNotStartAreErrorsOfTheDevice) {
  static constexpr DeviceKernels kFailing = {
      .describe = [](int32_t) { return "an illegal memory access was encountered"; },
      .gelu_tanh = [](const GeluTanhCall&, void*) { return int32_t{700}; },
  };
  UseDeviceKernels(at::kPrivateUse1, &kFailing);
  const absl::Status status = OnDevice("sampling", kFake, [] {
    GeluTanh(at::ones({8}, at::TensorOptions(kFake)));
    return absl::OkStatus();
  });
  UseDeviceKernels(at::kPrivateUse1, nullptr);
  EXPECT_TRUE(absl::IsAborted(status));
  EXPECT_THAT(status.message(), HasSubstr("an illegal memory access was encountered (error 700)"));
}

TEST(FindCudaKernelsTest, TheEnvironmentSwitchesThemOff) {
  const at::Device cuda(at::kCUDA, 0);
  const auto find = [&](const char* choice) {
    setenv("FLOWAWR_CUDA_KERNELS", choice, /*overwrite=*/1);
    const absl::Status status = FindCudaKernels(cuda).status();
    unsetenv("FLOWAWR_CUDA_KERNELS");
    return status;
  };
  EXPECT_EQ(find("off").message(), "FLOWAWR_CUDA_KERNELS=off");
  EXPECT_TRUE(absl::IsFailedPrecondition(find("off")));
  EXPECT_EQ(find("0").message(), "FLOWAWR_CUDA_KERNELS=0: it is \"on\" or \"off\"");
  EXPECT_TRUE(absl::IsInvalidArgument(find("0")));
}

TEST(LoadDeviceKernelsTest, SaysWhatIsWrongWithALibrary) {
  EXPECT_THAT(LoadDeviceKernels("libnothing.so").status().message(), HasSubstr("libnothing.so"));
  EXPECT_TRUE(absl::IsNotFound(LoadDeviceKernels("libnothing.so").status()));
  EXPECT_THAT(LoadDeviceKernels("libm.so.6").status().message(), HasSubstr("libm.so.6 has no FlowawrDeviceKernels"));
  const absl::Status other = LoadDeviceKernels(FLOWAWR_WRONG_KERNELS).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(other));
  EXPECT_THAT(other.message(),
              HasSubstr("version 2 of the kernels' interface, this program 1: install both of one build"));
}

}  // namespace
}  // namespace flowawr
