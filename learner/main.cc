// flowawr-learner: reads the command line and turns signals into a stop.
#include <cstdio>
#include <string>

#include "common/base/shutdown_signal.h"
#include "common/telemetry/log.h"
#include "learner/learner.h"
#include "learner/options.h"

namespace {

int ExitCodeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk: return 0;
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kFailedPrecondition: return 75;
    case absl::StatusCode::kResourceExhausted: return 73;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kPermissionDenied: return 78;
    default: return 70;
  }
}

}  // namespace

int main(int argc, char** argv) {
  flowawr::ShutdownSignal signal;
  const flowawr::ParsedLearnerOptions parsed = flowawr::ParseLearnerOptions(argc, argv);
  if (parsed.exit_code) return *parsed.exit_code;
  flowawr::InitLogging("learner", parsed.options.log_level);
  const absl::Status status =
      flowawr::RunLearner(parsed.options, [&signal] { return signal.Wait(absl::Milliseconds(50)); });
  if (!status.ok()) std::fprintf(stderr, "flowawr-learner: %s\n", std::string(status.message()).c_str());
  return ExitCodeOf(status);
}
