#include "common/tensor/determinism.h"

#include <ATen/Context.h>

#include <cstdlib>

#include "common/process/exit_code.h"
#include "common/tensor/device_error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/fake_device/fake_device.h"

namespace flowawr {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;

constexpr char kCublas[] = "CUBLAS_WORKSPACE_CONFIG";
constexpr int kBadConfiguration = 78;

const at::Device kCard(at::kCUDA, 0), kFake = fake_device::Device();

class DeterminismTest : public testing::Test {
 protected:
  // As a process finds LibTorch in a container that asks for TF32.
  void SetUp() override {
    libtorch_.setDeterministicAlgorithms(false, /*warn_only=*/true);
    libtorch_.setDeterministicFillUninitializedMemory(true);
    libtorch_.setDeterministicCuDNN(false);
    libtorch_.setBenchmarkCuDNN(true);
    libtorch_.setAllowTF32CuBLAS(true);
    libtorch_.setAllowTF32CuDNN(true);
  }
  void TearDown() override { libtorch_.setDeterministicAlgorithms(false, /*warn_only=*/false); }

  void ExpectPlainFloat32() {
    EXPECT_FALSE(libtorch_.allowTF32CuBLAS());
    EXPECT_FALSE(libtorch_.allowTF32CuDNN(at::Float32Op::CONV));
    EXPECT_EQ(libtorch_.float32MatmulPrecision(), at::Float32MatmulPrecision::HIGHEST);
    EXPECT_EQ(libtorch_.allowBF16ReductionCuBLAS(), at::CuBLASReductionOption::DisallowReducedPrecisionAllowSplitK);
    EXPECT_FALSE(libtorch_.benchmarkCuDNN());
    EXPECT_FALSE(libtorch_.deterministicFillUninitializedMemory());
  }

  at::Context& libtorch_ = at::globalContext();
};

TEST_F(DeterminismTest, TakesOnlyDeterministicKernelsOfAnAccelerator) {
  EXPECT_TRUE(ChooseKernels(/*deterministic=*/true, kFake).ok());
  EXPECT_TRUE(libtorch_.deterministicAlgorithms());
  EXPECT_FALSE(libtorch_.deterministicAlgorithmsWarnOnly()) << "attention's backward pass would only be warned of";
  EXPECT_TRUE(libtorch_.deterministicCuDNN());
  ExpectPlainFloat32();
}

TEST_F(DeterminismTest, TakesAnyWhereBitsDoNotMatterButKeepsFloat32) {
  EXPECT_TRUE(ChooseKernels(/*deterministic=*/true, kFake).ok());
  EXPECT_TRUE(ChooseKernels(/*deterministic=*/false, kFake).ok());
  EXPECT_FALSE(libtorch_.deterministicAlgorithms());
  EXPECT_FALSE(libtorch_.deterministicCuDNN());
  ExpectPlainFloat32();
}

TEST_F(DeterminismTest, SwitchesNothingForTheCpu) {
  EXPECT_TRUE(ChooseKernels(/*deterministic=*/true, at::kCPU).ok());
  EXPECT_FALSE(libtorch_.deterministicAlgorithms());
  EXPECT_TRUE(libtorch_.benchmarkCuDNN());
  EXPECT_TRUE(libtorch_.allowTF32CuBLAS());
}

TEST_F(DeterminismTest, SaysWhatToDoWhereCublasIsToldOtherwise) {
  for (const char* good : {":4096:8", ":16:8"}) {
    setenv(kCublas, good, /*overwrite=*/1);
    EXPECT_TRUE(ChooseKernels(/*deterministic=*/true, kCard).ok()) << good;
  }
  libtorch_.setDeterministicAlgorithms(false, /*warn_only=*/false);
  setenv(kCublas, ":0:0", /*overwrite=*/1);
  const absl::Status refused = ChooseKernels(/*deterministic=*/true, kCard, "model.deterministic");
  EXPECT_EQ(ExitCodeOf(refused), kBadConfiguration);
  EXPECT_THAT(std::string(refused.message()),
              AllOf(HasSubstr("is :0:0"), HasSubstr("unset it, or set model.deterministic: false")));
  EXPECT_FALSE(libtorch_.deterministicAlgorithms());
  EXPECT_THAT(std::string(ChooseKernels(/*deterministic=*/true, kCard).message()), EndsWith("unset it"));
  EXPECT_TRUE(ChooseKernels(/*deterministic=*/false, kCard).ok());
  unsetenv(kCublas);
  EXPECT_THAT(std::string(ChooseKernels(/*deterministic=*/true, kCard).message()), HasSubstr("is not set"));
}

TEST_F(DeterminismTest, AnOperationWithoutADeterministicKernelEndsTheProcessAsABadConfiguration) {
  const auto run = [] {
    at::globalContext().alertNotDeterministic("cumsum_cuda_kernel");  // as LibTorch's kernels do
    return absl::OkStatus();
  };
  EXPECT_TRUE(OnDevice("sampling", kCard, run).ok());
  ASSERT_TRUE(ChooseKernels(/*deterministic=*/true, kFake).ok());
  const absl::Status refused = OnDevice("sampling", kCard, run);
  EXPECT_TRUE(IsDeviceError(refused));
  EXPECT_EQ(ExitCodeOf(refused), kBadConfiguration);
  EXPECT_THAT(std::string(refused.message()),
              AllOf(HasSubstr("sampling on cuda:0: cumsum_cuda_kernel has no kernel there"),
                    HasSubstr("model.deterministic: false")));
}

}  // namespace
}  // namespace flowawr
