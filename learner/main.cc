// flowawr-learner: reads the command line and turns signals into a stop.
#include "common/base/shutdown_signal.h"
#include "common/base/version.h"
#include "common/process/exit_code.h"
#include "common/process/processor.h"
#include "common/telemetry/log.h"
#include "learner/learner.h"
#include "learner/options.h"

int main(int argc, char** argv) {
  flowawr::ShutdownSignal signal;
  flowawr::LetOrphansBeReaped();
  const flowawr::Parsed<flowawr::LearnerOptions> parsed = flowawr::ParseLearnerOptions(argc, argv);
  if (parsed.exit_code) return *parsed.exit_code;
  flowawr::InitLogging("learner", parsed.options.telemetry.log_level, parsed.options.telemetry.log_format);
  spdlog::info("flowawr {}, {}", flowawr::Version(), flowawr::DescribeProcessor());
  return flowawr::ReportAndExitCodeOf(
      flowawr::RunLearner(parsed.options, [&signal] { return signal.Wait(absl::Milliseconds(50)); }));
}
