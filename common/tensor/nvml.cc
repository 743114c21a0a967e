#include "common/tensor/nvml.h"

#include <dlfcn.h>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/tensor/library_symbol.h"

namespace flowawr {
namespace {

constexpr int kChip = 0;  // NVML_TEMPERATURE_GPU

// nvmlClocksThrottleReason...
constexpr unsigned long long kSwPowerCap = 0x4, kHwSlowdown = 0x8, kSwThermalSlowdown = 0x20, kHwThermalSlowdown = 0x40,
                             kHwPowerBrakeSlowdown = 0x80;

// nvmlFieldValue_t: NVML_FI_DEV_PCIE_COUNT_..._BYTES as the card sees it, and the types that they may have.
constexpr unsigned kSentBytes = 197, kReceivedBytes = 198;
constexpr int kUnsignedInt = 1, kUnsignedLong = 2, kUnsignedLongLong = 3;

absl::Status Check(int result, const char* call) {
  if (result == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("NVIDIA's management library answers ", call, " with error ", result));
}

}  // namespace

absl::StatusOr<Nvml> Nvml::Load(const std::string& library) {
  void* const handle = dlopen(library.c_str(), RTLD_LAZY | RTLD_LOCAL);
  if (handle == nullptr)
    return absl::NotFoundError(absl::StrCat("no NVIDIA management library (", library, ") on this machine"));
  Nvml nvml;
  int (*init)() = nullptr;
  const bool is_whole = FindSymbol(handle, "nvmlInit_v2", &init) &&
                        FindSymbol(handle, "nvmlDeviceGetHandleByPciBusId_v2", &nvml.card_) &&
                        FindSymbol(handle, "nvmlDeviceGetUtilizationRates", &nvml.utilization_) &&
                        FindSymbol(handle, "nvmlDeviceGetPowerUsage", &nvml.power_) &&
                        FindSymbol(handle, "nvmlDeviceGetTemperature", &nvml.temperature_) &&
                        FindSymbol(handle, "nvmlDeviceGetMemoryInfo", &nvml.memory_) &&
                        FindSymbol(handle, "nvmlDeviceGetCurrentClocksThrottleReasons", &nvml.throttling_) &&
                        FindSymbol(handle, "nvmlDeviceGetFieldValues", &nvml.fields_);
  if (!is_whole)
    return absl::NotFoundError(absl::StrCat(library, " is no NVIDIA management library that this program knows"));
  FLOWAWR_RETURN_IF_ERROR(Check(init(), "nvmlInit"));
  return nvml;
}

absl::StatusOr<CardState> Nvml::Ask(const std::string& pci_bus_id) const {
  Card card = nullptr;
  FLOWAWR_RETURN_IF_ERROR(Check(card_(pci_bus_id.c_str(), &card), "nvmlDeviceGetHandleByPciBusId"));
  CardState state;
  if (Utilization utilization; utilization_(card, &utilization) == 0) state.utilization = utilization.gpu / 100.0;
  if (unsigned milliwatts; power_(card, &milliwatts) == 0) state.power_watts = milliwatts / 1e3;
  if (unsigned celsius; temperature_(card, kChip, &celsius) == 0) state.temperature_celsius = celsius;
  if (Memory memory; memory_(card, &memory) == 0) {
    state.memory_bytes = static_cast<int64_t>(memory.total);
    state.used_memory_bytes = static_cast<int64_t>(memory.used);
  }
  if (unsigned long long reasons; throttling_(card, &reasons) == 0)
    state.throttling = {.power_cap = (reasons & kSwPowerCap) != 0,
                        .software_thermal = (reasons & kSwThermalSlowdown) != 0,
                        .hardware_thermal = (reasons & kHwThermalSlowdown) != 0,
                        .power_brake = (reasons & kHwPowerBrakeSlowdown) != 0,
                        .hardware = (reasons & kHwSlowdown) != 0};
  Field fields[] = {{.id = kReceivedBytes}, {.id = kSentBytes}};
  if (fields_(card, 2, fields) == 0) {
    const auto bytes_of = [](const Field& field) -> std::optional<int64_t> {
      if (field.result != 0) return std::nullopt;
      if (field.type == kUnsignedInt) return field.value.small;
      if (field.type == kUnsignedLong || field.type == kUnsignedLongLong)
        return static_cast<int64_t>(field.value.large);
      return std::nullopt;
    };
    state.received_bytes = bytes_of(fields[0]);
    state.sent_bytes = bytes_of(fields[1]);
  }
  return state;
}

}  // namespace flowawr
