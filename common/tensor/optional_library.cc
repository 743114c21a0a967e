#include "common/tensor/optional_library.h"

#include <dlfcn.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace flowawr {

absl::StatusOr<void*> OpenOptionalLibrary(const std::string& name) {
  void* const handle = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle != nullptr) return handle;
  const char* const problem = dlerror();
  return absl::NotFoundError(absl::StrCat(problem == nullptr ? name : problem,
                                          " (it is built with FLOWAWR_CUDA and needs LibTorch's CUDA build)"));
}

}  // namespace flowawr
