#include "common/tensor/learner_devices.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/tensor/device_names.h"
#include "common/tensor/devices.h"

namespace flowawr {

absl::StatusOr<std::vector<std::string>> LearnerDevices(const std::vector<std::string>& names, int local_world) {
  std::vector<std::string> devices;
  if (names == std::vector<std::string>{"auto"}) {
    FLOWAWR_ASSIGN_OR_RETURN(devices, ResolveDeviceNames(names));
    devices.resize(std::min(devices.size(), static_cast<size_t>(local_world)));
    return devices;
  }
  for (const std::string& name : names) {
    FLOWAWR_ASSIGN_OR_RETURN(const at::Device found, FindDevice(name));
    std::string device = NameOf(found);
    if (std::find(devices.begin(), devices.end(), device) != devices.end())
      return absl::InvalidArgumentError(absl::StrCat(device, " is named twice; a device computes one share: leave one out"));
    devices.push_back(std::move(device));
  }
  if (devices.size() > 1 && std::find(devices.begin(), devices.end(), "cpu") != devices.end())
    return absl::InvalidArgumentError("cpu beside accelerators, which would wait for it at every update; leave one kind out");
  return devices;
}

std::vector<std::string> DevicesOfRank(const std::vector<std::string>& devices, int local_rank, int local_world) {
  const size_t count = devices.size(), rank = static_cast<size_t>(local_rank), world = static_cast<size_t>(local_world);
  const size_t begin = rank * count / world, end = (rank + 1) * count / world;
  return {devices.begin() + static_cast<std::ptrdiff_t>(begin),
          devices.begin() + static_cast<std::ptrdiff_t>(std::max(end, begin + 1))};
}

std::string WarningOfSharedDevices(const std::vector<std::string>& devices, int local_world) {
  const size_t count = devices.size();
  if (devices.front() == "cpu" || static_cast<size_t>(local_world) <= count) return "";
  return absl::StrCat(local_world, " ranks of this machine share ", count, count == 1 ? " device" : " devices",
                      " (train.devices), each with its own copy of the model there; name one for each, or run at most ",
                      count);
}

}  // namespace flowawr
