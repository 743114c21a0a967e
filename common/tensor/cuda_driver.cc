#include "common/tensor/cuda_driver.h"

#include <dlfcn.h>

#include <cstddef>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/tensor/library_symbol.h"

namespace flowawr {
namespace {

constexpr int kNoDevice = 100;  // CUDA_ERROR_NO_DEVICE

// The functions of the driver's interface that are called here; all return 0, or an error's number.
class Driver {
 public:
  // It stays loaded: LibTorch's CUDA build uses it, too.
  static absl::StatusOr<Driver> Load(const std::string& library) {
    void* const handle = dlopen(library.c_str(), RTLD_LAZY | RTLD_LOCAL);
    if (handle == nullptr) return absl::NotFoundError(absl::StrCat("no NVIDIA driver (", library, ") on this machine"));
    Driver driver;
    const bool is_whole = FindSymbol(handle, "cuInit", &driver.init_) &&
                          FindSymbol(handle, "cuDriverGetVersion", &driver.version_) &&
                          FindSymbol(handle, "cuDeviceGetCount", &driver.count_) &&
                          FindSymbol(handle, "cuDeviceGet", &driver.get_) &&
                          FindSymbol(handle, "cuDeviceGetName", &driver.name_) &&
                          FindSymbol(handle, "cuDeviceGetPCIBusId", &driver.bus_id_) &&
                          FindSymbol(handle, "cuDeviceTotalMem_v2", &driver.memory_);
    if (!is_whole) return absl::NotFoundError(absl::StrCat(library, " is no NVIDIA driver that this program knows"));
    return driver;
  }

  absl::StatusOr<CudaDriver> Ask() const {
    FLOWAWR_RETURN_IF_ERROR(Check(init_(0), "cuInit"));
    int version = 0, count = 0;
    FLOWAWR_RETURN_IF_ERROR(Check(version_(&version), "cuDriverGetVersion"));
    FLOWAWR_RETURN_IF_ERROR(Check(count_(&count), "cuDeviceGetCount"));
    CudaDriver answer{.version = absl::StrCat(version / 1000, ".", version % 1000 / 10), .devices = {}};
    for (int i = 0; i < count; ++i) {
      int device = 0;
      char name[256] = "", bus_id[32] = "";
      size_t bytes = 0;
      FLOWAWR_RETURN_IF_ERROR(Check(get_(&device, i), "cuDeviceGet"));
      FLOWAWR_RETURN_IF_ERROR(Check(name_(name, sizeof(name), device), "cuDeviceGetName"));
      FLOWAWR_RETURN_IF_ERROR(Check(bus_id_(bus_id, sizeof(bus_id), device), "cuDeviceGetPCIBusId"));
      FLOWAWR_RETURN_IF_ERROR(Check(memory_(&bytes, device), "cuDeviceTotalMem"));
      answer.devices.push_back({.name = name, .pci_bus_id = bus_id, .memory_bytes = static_cast<int64_t>(bytes)});
    }
    return answer;
  }

 private:
  static absl::Status Check(int result, const char* call) {
    if (result == 0) return absl::OkStatus();
    return absl::FailedPreconditionError(
        absl::StrCat("the NVIDIA driver answers ", call, " with error ", result, result == kNoDevice ? ": no device" : ""));
  }

  int (*init_)(unsigned flags) = nullptr;
  int (*version_)(int* version) = nullptr;
  int (*count_)(int* count) = nullptr;
  int (*get_)(int* device, int ordinal) = nullptr;
  int (*name_)(char* name, int size, int device) = nullptr;
  int (*bus_id_)(char* bus_id, int size, int device) = nullptr;
  int (*memory_)(size_t* bytes, int device) = nullptr;
};

}  // namespace

absl::StatusOr<CudaDriver> AskCudaDriver(const std::string& library) {
  FLOWAWR_ASSIGN_OR_RETURN(const Driver driver, Driver::Load(library));
  return driver.Ask();
}

}  // namespace flowawr
