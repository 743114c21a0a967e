// That everything which a test executable ran on the fake device has a kernel for CUDA, and one that gives the same bits
// each time. Include it in the executable; it is checked after the last test, by the headers of LibTorch, which name the
// kernels of all its backends.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <set>
#include <string>

#include "tests/testing/fake_device/fake_device.h"

namespace flowawr::fake_device {

class CudaKernelCheck final : public testing::Environment {
 public:
  void TearDown() override {
    if (!IsThere()) return;  // a real device has run it
    const char* build = std::getenv("FLOWAWR_BUILD_DIR");
    ASSERT_NE(build, nullptr) << "FLOWAWR_BUILD_DIR is not set: run it by ctest";
    const std::filesystem::path headers = std::string(build) + "/libtorch_headers/ATen/ops";
    ASSERT_TRUE(std::filesystem::exists(headers / "mm_cuda_dispatch.h")) << headers;
    for (const std::string& operation : AllOperations()) {
      EXPECT_TRUE(std::filesystem::exists(headers / (BaseOf(operation) + "_cuda_dispatch.h")))
          << operation << " has no kernel for CUDA: a forward or backward pass must not need it";
      EXPECT_FALSE(kNotDeterministic.contains(BaseOf(operation)))
          << operation << " has no deterministic kernel for CUDA: a run with model.deterministic would end";
    }
  }

 private:
  // What throws on CUDA in deterministic mode, by torch.use_deterministic_algorithms() of LibTorch 2.13.
  static inline const std::set<std::string> kNotDeterministic = {
      "_adaptive_avg_pool2d_backward", "_adaptive_avg_pool3d_backward", "_ctc_loss_backward", "_embedding_bag_dense_backward",
      "adaptive_max_pool2d_backward", "avg_pool3d_backward", "bincount", "cumsum", "fractional_max_pool2d_backward",
      "fractional_max_pool3d_backward", "grid_sampler_2d_backward", "grid_sampler_3d_backward", "histc", "max_unpool2d",
      "max_unpool3d", "median", "nll_loss2d_forward", "nll_loss_forward", "put", "reflection_pad1d_backward",
      "reflection_pad2d_backward", "reflection_pad3d_backward", "scatter_reduce", "upsample_bicubic2d_backward",
      "upsample_bilinear2d_backward", "upsample_linear1d_backward", "upsample_trilinear3d_backward"};

  // aten::add_.Tensor and aten::add.out are kernels of `add`.
  static std::string BaseOf(const std::string& operation) {
    std::string name = operation.substr(operation.find("::") + 2);
    name = name.substr(0, name.find('.'));
    if (name == "convolution_overrideable") return "cudnn_convolution";  // what CUDA runs in its place
    if (name.size() > 1 && name.back() == '_') name.pop_back();
    return name;
  }
};

inline const testing::Environment* const cuda_kernel_check = testing::AddGlobalTestEnvironment(new CudaKernelCheck);

}  // namespace flowawr::fake_device
