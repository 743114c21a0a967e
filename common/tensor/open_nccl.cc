#include "common/tensor/open_nccl.h"

#include <dlfcn.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace flowawr {
namespace {

constexpr char kLibrary[] = "libflowawr_nccl.so";

}  // namespace

absl::StatusOr<void*> OpenNcclLibrary() {
  void* const handle = dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
  if (handle != nullptr) return handle;
  const char* const problem = dlerror();
  return absl::NotFoundError(absl::StrCat("no NCCL: ", problem == nullptr ? kLibrary : problem,
                                          " (it is built with FLOWAWR_CUDA and needs LibTorch's CUDA build)"));
}

}  // namespace flowawr
