#include "cli/doctor/devices.h"

#include <ATen/detail/CUDAHooksInterface.h>
#include <dlfcn.h>

#include <cstdlib>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/machine_memory.h"
#include "common/base/device_list.h"
#include "common/nn/device_dispatch.h"
#include "common/tensor/device_facts.h"
#include "common/tensor/devices.h"

namespace flowawr {
namespace {

constexpr char kSubject[] = "devices";

// "13.0" of 13000, as CUDA writes its versions.
std::string CudaVersion(int64_t number) { return absl::StrCat(number / 1000, ".", number % 1000 / 10); }

int Major(const std::string& version) { return std::atoi(version.c_str()); }

std::string NcclVersion() {
  void* found = dlsym(RTLD_DEFAULT, "ncclGetVersion");
  if (found == nullptr) {
    void* const library = dlopen("libnccl.so.2", RTLD_LAZY | RTLD_LOCAL);
    if (library != nullptr) found = dlsym(library, "ncclGetVersion");
  }
  int number = 0;
  if (found == nullptr || reinterpret_cast<int (*)(int*)>(found)(&number) != 0) return "";
  return absl::StrCat(number / 10000, ".", number % 10000 / 100, ".", number % 100);
}

std::string CardsText(const CudaDriver& driver) {
  return absl::StrJoin(driver.devices, ", ", [](std::string* out, const CudaCard& card) {
    absl::StrAppend(out, card.name, " (", FormatMemory(card.memory_bytes), ")");
  });
}

absl::StatusOr<std::string> KernelsText(const absl::StatusOr<const DeviceKernels*>& kernels) {
  if (!kernels.ok()) return kernels.status();
  return (*kernels)->built_for;
}

}  // namespace

DeviceSight LookAtDevices() {
  DeviceSight sight;
  const std::vector<at::Device> accelerators = Accelerators();
  for (const at::Device device : accelerators) sight.accelerators.push_back(DescribeDevice(device));
  const at::CUDAHooksInterface& hooks = at::detail::getCUDAHooks();
  if (hooks.hasCUDART()) sight.cuda = CudaVersion(hooks.versionCUDART());
  sight.nccl = NcclVersion();
  sight.kernels_choice = CheckCudaKernelsChoice();
  if (!accelerators.empty() && accelerators.front().is_cuda())
    sight.kernels = KernelsText(FindCudaKernels(accelerators.front()));
  sight.driver = AskCudaDriver();
  return sight;
}

std::vector<Finding> JudgeDevices(const DeviceSight& sight) {
  std::vector<Finding> findings;
  const auto tell = [&findings](FindingLevel level, std::string what) { findings.push_back({level, kSubject, std::move(what)}); };
  const bool has_cards = sight.driver.ok() && !sight.driver->devices.empty();
  const std::string seen = sight.accelerators.empty() ? "cpu alone" : DeviceListText(sight.accelerators);
  const std::string build = sight.cuda.empty() ? "LibTorch's CPU build" : absl::StrCat("LibTorch's build for CUDA ", sight.cuda);
  tell(FindingLevel::kOk, absl::StrCat(seen, "; ", build));
  if (has_cards)
    tell(FindingLevel::kOk, absl::StrCat("NVIDIA driver for CUDA ", sight.driver->version, ": ", CardsText(*sight.driver)));
  else if (!absl::IsNotFound(sight.driver.status()) || !sight.cuda.empty())
    tell(FindingLevel::kWarn, absl::StrCat(sight.driver.ok() ? "the NVIDIA driver has no card" : sight.driver.status().message(),
                                           sight.cuda.empty() ? "" : ": LibTorch's CUDA build has nothing to compute on"));
  if (has_cards && sight.cuda.empty())
    tell(FindingLevel::kWarn, "LibTorch's CPU build cannot use the cards that are there; scripts/setup --cuda takes the other");
  if (has_cards && !sight.cuda.empty() && Major(sight.driver->version) < Major(sight.cuda))
    tell(FindingLevel::kWarn, absl::StrCat("the driver runs CUDA ", sight.driver->version, " at most, LibTorch is built for ",
                                           sight.cuda, ": install a newer driver"));
  else if (has_cards && !sight.cuda.empty() && sight.accelerators.empty())
    tell(FindingLevel::kWarn, "LibTorch sees none of the driver's cards; `nvidia-smi` says in what state they are");
  if (absl::IsInvalidArgument(sight.kernels_choice)) {
    tell(FindingLevel::kWarn, absl::StrCat(sight.kernels_choice.message(), "; now it is off. Correct or unset it"));
  } else if (!sight.accelerators.empty() && !sight.cuda.empty()) {
    if (sight.kernels.ok())
      tell(FindingLevel::kOk, absl::StrCat("CUDA kernels of our own for ", *sight.kernels));
    else if (absl::IsNotFound(sight.kernels.status()))
      tell(FindingLevel::kOk, "no CUDA kernels of our own (libflowawr_cuda.so): LibTorch's operations; the preset cuda builds them");
    else
      tell(FindingLevel::kWarn, absl::StrCat("LibTorch's operations instead of CUDA kernels of our own: ",
                                             sight.kernels.status().message()));
  }
  if (!sight.nccl.empty())
    tell(FindingLevel::kOk, absl::StrCat("NCCL ", sight.nccl));
  else if (sight.accelerators.size() > 1 && !sight.cuda.empty())
    tell(FindingLevel::kOk, "no NCCL (libnccl.so.2): ranks, where a run has several, add up gradients through the host");
  return findings;
}

}  // namespace flowawr
