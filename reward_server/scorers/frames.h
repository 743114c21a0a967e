// How the OCR scorer and its reader process speak over a socket: frames of a few strings, one asks, one answers.
#pragma once

#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"

namespace flowawr {

using Frame = std::vector<std::string>;

// Asked several times a second while the other side is waited for; anything but OK ends the waiting and is returned.
using KeepWaiting = absl::FunctionRef<absl::Status()>;

// Unavailable when the other side is gone.
absl::Status SendFrame(int socket, const Frame& frame, KeepWaiting keep_waiting);
// Also Unavailable for what is no frame, e.g. of more than 8 strings or 256 MiB.
absl::StatusOr<Frame> ReceiveFrame(int socket, KeepWaiting keep_waiting);

}  // namespace flowawr
