#include "common/process/exit_code.h"

#include <errno.h>

#include <cstdio>
#include <string>

namespace flowawr {

int ExitCodeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return 0;
    case absl::StatusCode::kDataLoss:
      return 65;
    case absl::StatusCode::kNotFound:
      return 66;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      return 69;
    case absl::StatusCode::kAlreadyExists:
      return 73;
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kResourceExhausted:
      return 75;
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kPermissionDenied:
      return 77;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kUnimplemented:
      return 78;  // the last: the other side is of another version
    case absl::StatusCode::kCancelled:
      return 130;
    default:
      return 70;
  }
}

int ReportAndExitCodeOf(const absl::Status& status) {
  if (!status.ok())
    std::fprintf(stderr, "%s: %s\n", program_invocation_short_name, std::string(status.message()).c_str());
  return ExitCodeOf(status);
}

}  // namespace flowawr
