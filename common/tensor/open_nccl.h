// libflowawr_nccl.so, the optional library by which ranks exchange gradients over NCCL (learner/ranks/nccl_library.h).
#pragma once

#include "absl/status/statusor.h"

namespace flowawr {

// Its handle as of dlopen(), of one that stays loaded. NotFound, with what it needs, when it cannot be opened.
// Thread-safe.
absl::StatusOr<void*> OpenNcclLibrary();

}  // namespace flowawr
