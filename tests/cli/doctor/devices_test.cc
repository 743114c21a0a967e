#include "cli/doctor/devices.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace flowawr {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::Not;

auto Is(FindingLevel level, const std::string& what) {
  return AllOf(Field(&Finding::level, level), Field(&Finding::what, HasSubstr(what)));
}

CudaDriver TwoCards(const std::string& version) {
  const CudaCard card{.name = "NVIDIA H100", .pci_bus_id = "", .memory_bytes = 80'000'000'000};
  return {.version = version, .devices = {card, card}};
}

TEST(JudgeDevices, IsContentWithAMachineWithoutGpus) {
  const DeviceSight sight{
      .accelerators = {}, .cuda = "", .nccl = "", .driver = absl::NotFoundError("no NVIDIA driver")};
  EXPECT_THAT(JudgeDevices(sight), ElementsAre(Is(FindingLevel::kOk, "cpu alone; LibTorch's CPU build")));
}

TEST(JudgeDevices, NamesCardsDriverKernelsAndNccl) {
  const DeviceSight sight{.accelerators = {"cuda:0 (NVIDIA H100)", "cuda:1 (NVIDIA H100)"},
                          .cuda = "13.0",
                          .nccl = "2.29.7",
                          .kernels = "CUDA 13.0.88: sm_80, sm_90a",
                          .driver = TwoCards("13.1")};
  EXPECT_THAT(
      JudgeDevices(sight),
      ElementsAre(Is(FindingLevel::kOk, "cuda:0 (NVIDIA H100), cuda:1 (NVIDIA H100); LibTorch's build for CUDA 13.0"),
                  Is(FindingLevel::kOk, "NVIDIA driver for CUDA 13.1: NVIDIA H100 (80.0 GB), NVIDIA H100 (80.0 GB)"),
                  Is(FindingLevel::kOk, "CUDA kernels of our own for CUDA 13.0.88: sm_80, sm_90a"),
                  Is(FindingLevel::kOk, "NCCL 2.29.7")));
}

TEST(JudgeDevices, KernelsOfAnotherBuildAreAWarningNoneAreNot) {
  DeviceSight sight{.accelerators = {"cuda:0"}, .cuda = "13.0", .nccl = "2.29.7", .driver = TwoCards("13.0")};
  EXPECT_THAT(JudgeDevices(sight), Contains(Is(FindingLevel::kOk, "the preset cuda builds them")));
  sight.kernels = absl::FailedPreconditionError("install both of one build");
  EXPECT_THAT(JudgeDevices(sight), Contains(Is(FindingLevel::kWarn, "install both of one build")));
}

TEST(JudgeDevices, ChoiceOfKernelsThatIsNoneIsAWarningOnAnyMachine) {
  DeviceSight sight{.accelerators = {}, .cuda = "", .nccl = "", .driver = absl::NotFoundError("no NVIDIA driver")};
  sight.kernels_choice = absl::InvalidArgumentError("FLOWAWR_CUDA_KERNELS=0: it is ...");
  EXPECT_THAT(JudgeDevices(sight), Contains(Is(FindingLevel::kWarn, "FLOWAWR_CUDA_KERNELS=0: it is ...")));
  sight.kernels_choice = absl::FailedPreconditionError("FLOWAWR_CUDA_KERNELS=off");
  EXPECT_THAT(JudgeDevices(sight), Not(Contains(Is(FindingLevel::kWarn, "FLOWAWR_CUDA_KERNELS"))));
}

TEST(JudgeDevices, SaysWhatDoesNotFit) {
  const auto none = absl::NotFoundError("no NVIDIA driver (libcuda.so.1) on this machine");
  EXPECT_THAT(JudgeDevices({.accelerators = {}, .cuda = "", .nccl = "", .driver = TwoCards("13.0")}),
              ElementsAre(Is(FindingLevel::kOk, "CPU build"), Is(FindingLevel::kOk, "NVIDIA H100"),
                          Is(FindingLevel::kWarn, "scripts/setup --cuda")));
  EXPECT_THAT(JudgeDevices({.accelerators = {}, .cuda = "13.0", .nccl = "2.29.7", .driver = none}),
              ElementsAre(Is(FindingLevel::kOk, "CUDA 13.0"), Is(FindingLevel::kWarn, "no NVIDIA driver"),
                          Is(FindingLevel::kOk, "NCCL")));
  EXPECT_THAT(JudgeDevices({.accelerators = {}, .cuda = "13.0", .nccl = "2.29.7", .driver = TwoCards("12.8")}),
              ElementsAre(Is(FindingLevel::kOk, "CUDA 13.0"), Is(FindingLevel::kOk, "CUDA 12.8"),
                          Is(FindingLevel::kWarn, "install a newer driver"), Is(FindingLevel::kOk, "NCCL")));
  EXPECT_THAT(JudgeDevices({.accelerators = {}, .cuda = "13.0", .nccl = "", .driver = TwoCards("13.0")}),
              ElementsAre(Is(FindingLevel::kOk, "cpu alone"), Is(FindingLevel::kOk, "NVIDIA H100"),
                          Is(FindingLevel::kWarn, "sees none of the driver's cards")));
  EXPECT_THAT(
      JudgeDevices({.accelerators = {},
                    .cuda = "",
                    .nccl = "",
                    .driver = absl::FailedPreconditionError("the NVIDIA driver answers cuInit with error 100")}),
      ElementsAre(Is(FindingLevel::kOk, "cpu alone"), Is(FindingLevel::kWarn, "cuInit with error 100")));
}

TEST(JudgeDevices, MissesNcclOnlyWhereRanksCouldUseIt) {
  DeviceSight sight{.accelerators = {"cuda:0"}, .cuda = "13.0", .nccl = "", .driver = TwoCards("13.0")};
  EXPECT_THAT(JudgeDevices(sight), Not(Contains(Is(FindingLevel::kOk, "no NCCL"))));
  sight.accelerators.push_back("cuda:1");
  EXPECT_THAT(JudgeDevices(sight), Contains(Is(FindingLevel::kOk, "no NCCL")));
}

}  // namespace
}  // namespace flowawr
