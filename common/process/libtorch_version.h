// Whether a program can work with the LibTorch that it has found at its start.
#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace flowawr {

// FailedPrecondition when the LibTorch that is loaded is older than the one that this program was built with: what only the
// newer one has would end the program in the middle, in the linker's words. OK where none is loaded. To be asked after
// RestrictProcessor() and PrepareDeviceLibraries(), whose variables it reads, and before anything else of LibTorch.
absl::Status CheckLibTorch();

// The same by the version of the headers, "2.13.0", and what the library says of itself (at::show_config()). OK where that
// is no version. Pure.
absl::Status CheckLibTorchVersion(absl::string_view headers, absl::string_view config);

}  // namespace flowawr
