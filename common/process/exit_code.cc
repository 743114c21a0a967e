#include "common/process/exit_code.h"

#include <errno.h>

#include <cstdio>
#include <string>

#include "absl/strings/cord.h"
#include "absl/time/clock.h"
#include "common/telemetry/log.h"

namespace flowawr {

namespace {
constexpr char kIsUsage[] = "flowawr/usage";
}  // namespace

absl::Status UsageError(absl::string_view message) {
  absl::Status error = absl::InvalidArgumentError(message);
  error.SetPayload(kIsUsage, absl::Cord());
  return error;
}

int ExitCodeOf(const absl::Status& status) {
  if (status.GetPayload(kIsUsage).has_value()) return kUsageExitCode;
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

absl::StatusCode CodeOfExit(int exit_code) {
  switch (exit_code) {
    case 0:
      return absl::StatusCode::kOk;
    case 65:
      return absl::StatusCode::kDataLoss;
    case 66:
      return absl::StatusCode::kNotFound;
    case 69:
      return absl::StatusCode::kUnavailable;
    case 73:
      return absl::StatusCode::kAlreadyExists;
    case 75:
      return absl::StatusCode::kAborted;
    case 77:
      return absl::StatusCode::kPermissionDenied;
    case 64:  // the command line was ours, from what the configuration says
    case 78:
      return absl::StatusCode::kFailedPrecondition;
    default:
      return absl::StatusCode::kInternal;
  }
}

int ReportAndExitCodeOf(const absl::Status& status) {
  if (!status.ok() && LogsJson())
    std::fputs(JsonLogLine(absl::Now(), "error", status.message()).c_str(), stderr);
  else if (!status.ok())
    std::fprintf(stderr, "%s: %s\n", program_invocation_short_name, std::string(status.message()).c_str());
  return ExitCodeOf(status);
}

}  // namespace flowawr
