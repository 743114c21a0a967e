// How the OCR scorer and its reader process speak over a socket: frames of a few strings, one asks, one answers.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/keep_going.h"

namespace flowawr {

using Frame = std::vector<std::string>;

// Unavailable when the other side is gone; `keep_going` is asked while it is waited for.
absl::Status SendFrame(int socket, const Frame& frame, KeepGoing keep_going);
// Also Unavailable for what is no frame, e.g. of more than 8 strings or 256 MiB.
absl::StatusOr<Frame> ReceiveFrame(int socket, KeepGoing keep_going);

}  // namespace flowawr
