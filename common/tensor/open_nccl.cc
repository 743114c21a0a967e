#include "common/tensor/open_nccl.h"

#include "common/base/status.h"
#include "common/tensor/optional_library.h"

namespace flowawr {

absl::StatusOr<void*> OpenNcclLibrary() {
  absl::StatusOr<void*> library = OpenOptionalLibrary("libflowawr_nccl.so");
  if (!library.ok()) return Annotate(library.status(), "no NCCL");
  return library;
}

}  // namespace flowawr
