#include "learner/ranks/nccl.h"

#include <torch/csrc/distributed/c10d/Store.hpp>

#include "absl/strings/str_cat.h"
#include "common/tensor/devices.h"
#include "common/tensor/library_symbol.h"
#include "common/tensor/open_nccl.h"
#include "learner/ranks/nccl_library.h"

namespace flowawr {
namespace {

constexpr size_t kTextSize = 512;

struct Library {
  NcclDeviceFunction* device = nullptr;
  NcclLineFunction* line = nullptr;
  std::string why_not;
};

Library Load() {
  const absl::StatusOr<void*> handle = OpenNcclLibrary();
  if (!handle.ok()) return {.why_not = std::string(handle.status().message())};
  Library library;
  if (!FindSymbol(*handle, kNcclDeviceName, &library.device) || !FindSymbol(*handle, kNcclLineName, &library.line))
    library.why_not = "no NCCL: libflowawr_nccl.so is of another release";
  return library;
}

const Library& TheLibrary() {
  static const Library library = Load();
  return library;
}

}  // namespace

NcclSight LookForNccl(at::Device device) {
  if (!device.is_cuda()) return {.why_not = absl::StrCat("it computes on ", NameOf(device))};
  const Library& library = TheLibrary();
  if (!library.why_not.empty()) return {.why_not = library.why_not};
  char text[kTextSize] = "";
  if (library.device(device.index(), text, sizeof text)) return {.device = text};
  return {.why_not = absl::StrCat("no NCCL on ", NameOf(device), ": ", text)};
}

absl::StatusOr<std::unique_ptr<DeviceLine>> MakeNcclLine(const c10::intrusive_ptr<c10d::Store>& store, int number,
                                                         at::Device device) {
  const Library& library = TheLibrary();
  if (!library.why_not.empty()) return absl::FailedPreconditionError(library.why_not);
  char text[kTextSize] = "";
  std::unique_ptr<DeviceLine> line(library.line(store, number, device.index(), text, sizeof text));
  if (line == nullptr) return absl::UnavailableError(absl::StrCat("NCCL: ", text));
  return line;
}

}  // namespace flowawr
