#include "common/tensor/devices.h"

#include <ATen/DeviceAccelerator.h>
#include <torch/version.h>

#include <exception>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/base/device_list.h"
#include "common/base/nearest_word.h"
#include "common/base/status.h"
#include "common/tensor/device_names.h"

namespace flowawr {
namespace {

// What the machine has, for an error message: "this machine has cpu, cuda:0 and cuda:1".
std::string WhatThereIs() {
  std::vector<std::string> names = {"cpu"};
  for (const at::Device device : Accelerators()) names.push_back(NameOf(device));
  return absl::StrCat("this machine has ", DeviceListText(names));
}

std::string WhyNoCuda() {
  return absl::StrCat("LibTorch ", TORCH_VERSION,
                      " sees no CUDA device: that needs an NVIDIA driver and LibTorch's CUDA build (scripts/setup --cuda); "
                      "`flowawr doctor` says what is missing");
}

}  // namespace

std::vector<at::Device> Accelerators() {
  std::vector<at::Device> devices;
  try {
    const std::optional<c10::DeviceType> type = at::accelerator::getAccelerator();
    if (!type) return devices;
    for (c10::DeviceIndex i = 0; i < at::accelerator::deviceCount(); ++i) devices.emplace_back(*type, i);
  } catch (const std::exception&) {  // a driver that does not answer: no accelerator
    devices.clear();
  }
  return devices;
}

absl::StatusOr<at::Device> FindDevice(absl::string_view name) {
  const std::vector<at::Device> there = Accelerators();
  if (name == "auto") return there.empty() ? at::Device(at::kCPU) : there.front();
  if (name == "cpu") return at::Device(at::kCPU);
  std::vector<std::string> known = {"auto", "cpu", "cuda"};
  for (const at::Device device : there) {
    known.push_back(NameOf(device));
    const std::string type = at::DeviceTypeName(device.type(), /*lower_case=*/true);
    if (name == NameOf(device) || (name == type && device.index() == 0)) return device;
  }
  const bool is_cuda = name == "cuda" || absl::StartsWith(name, "cuda:");
  int index = 0;
  if (is_cuda && (name == "cuda" || absl::SimpleAtoi(name.substr(5), &index))) {
    const bool has_cuda = !there.empty() && there.front().is_cuda();
    return absl::InvalidArgumentError(absl::StrCat(name, ": no such device: ", has_cuda ? WhatThereIs() : WhyNoCuda()));
  }
  // As other tools call it; by its letters it is near cpu.
  const std::string word = absl::StrReplaceAll(absl::AsciiStrToLower(name), {{"gpu", "cuda"}});
  return absl::InvalidArgumentError(absl::StrCat(name, ": no such device: ", WhatThereIs(), DidYouMean(word, known)));
}

absl::StatusOr<std::vector<at::Device>> FindDevices(const std::vector<std::string>& names) {
  std::vector<at::Device> devices;
  for (const std::string& name : names) {
    if (name == "auto") {
      const std::vector<at::Device> there = Accelerators();
      devices.insert(devices.end(), there.begin(), there.end());
      if (there.empty()) devices.emplace_back(at::kCPU);
      continue;
    }
    FLOWAWR_ASSIGN_OR_RETURN(const at::Device device, FindDevice(name));
    devices.push_back(device);
  }
  return devices;
}

absl::Status CheckDeviceName(absl::string_view name) { return FindDevice(name).status(); }

absl::StatusOr<std::vector<std::string>> ResolveDeviceNames(const std::vector<std::string>& names) {
  FLOWAWR_ASSIGN_OR_RETURN(const std::vector<at::Device> devices, FindDevices(names));
  std::vector<std::string> resolved;
  for (const at::Device device : devices) resolved.push_back(NameOf(device));
  return resolved;
}

absl::StatusOr<std::string> ResolveRewardDevice(const std::string& name) {
  FLOWAWR_ASSIGN_OR_RETURN(const std::vector<std::string> devices, ResolveDeviceNames({name}));
  return devices.back();
}

std::string NameOf(at::Device device) {
  if (device.is_cpu()) return "cpu";
  return absl::StrCat(at::DeviceTypeName(device.type(), /*lower_case=*/true), ":", static_cast<int>(device.index()));
}

}  // namespace flowawr
