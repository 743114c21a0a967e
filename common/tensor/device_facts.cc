#include "common/tensor/device_facts.h"

#include <ATen/DeviceAccelerator.h>
#include <c10/core/DeviceGuard.h>

#include <exception>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/tensor/cuda_driver.h"
#include "common/tensor/device_cards.h"
#include "common/tensor/devices.h"

namespace flowawr {
namespace {

using Statistic = c10::CachingAllocator::StatType;

double Gigabytes(int64_t bytes) { return static_cast<double>(bytes) / 1e9; }

}  // namespace

std::string DescribeDevice(at::Device device) {
  if (!device.is_cuda()) return NameOf(device);
  const absl::StatusOr<CudaDriver> driver = AskCudaDriver();
  const auto index = static_cast<size_t>(device.index());
  if (!driver.ok() || index >= driver->devices.size()) return NameOf(device);
  return absl::StrCat(NameOf(device), " (", driver->devices[index].name, ")");
}

std::optional<DeviceMemory> MemoryOf(at::Device device) {
  if (device.is_cpu()) return std::nullopt;
  try {
    const auto statistics = at::getDeviceAllocator(device.type())->getDeviceStats(device.index());
    constexpr auto kAll = static_cast<size_t>(Statistic::AGGREGATE);
    return DeviceMemory{.allocated = statistics.allocated_bytes[kAll].current,
                        .reserved = statistics.reserved_bytes[kAll].current,
                        .peak = statistics.allocated_bytes[kAll].peak};
  } catch (const std::exception&) {  // it counts nothing, or has failed
    return std::nullopt;
  }
}

std::map<std::string, DeviceMemory> MemoryByDevice() {
  std::map<std::string, DeviceMemory> used;
  for (const at::Device device : Accelerators())
    if (const std::optional<DeviceMemory> memory = MemoryOf(device); memory && memory->reserved > 0) used[NameOf(device)] = *memory;
  return used;
}

void GiveBackFreedDeviceMemory() {
  for (const at::Device device : Accelerators()) {
    const std::optional<DeviceMemory> memory = MemoryOf(device);
    if (!memory || memory->reserved == memory->allocated) continue;
    try {
      const c10::DeviceGuard on_device(device);  // CUDA frees on the thread's own one, where there may be nothing of ours
      return at::getDeviceAllocator(device.type())->emptyCache();  // of all accelerators, which are of one type
    } catch (const std::exception&) {
      return;  // it has failed, which its next work will tell
    }
  }
}

std::map<std::string, CardState> CardsInUse() {
  std::map<std::string, CardState> cards;
  for (const at::Device device : Accelerators()) {
    const std::optional<DeviceMemory> memory = device.is_cuda() ? MemoryOf(device) : std::nullopt;
    if (!memory || memory->reserved == 0) continue;
    static const absl::StatusOr<Nvml> nvml = Nvml::Load();
    static const absl::StatusOr<CudaDriver> driver = AskCudaDriver();
    const auto index = static_cast<size_t>(device.index());
    if (!nvml.ok() || !driver.ok() || index >= driver->devices.size()) continue;
    if (const absl::StatusOr<CardState> state = nvml->Ask(driver->devices[index].pci_bus_id); state.ok())
      cards[NameOf(device)] = *state;
  }
  return cards;
}

std::string DescribeMemory(const std::optional<DeviceMemory>& memory) {
  if (!memory) return "";
  return absl::StrFormat("%.1f GB allocated, %.1f GB reserved, at most %.1f GB allocated", Gigabytes(memory->allocated),
                         Gigabytes(memory->reserved), Gigabytes(memory->peak));
}

}  // namespace flowawr
