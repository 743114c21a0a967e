#include "cli/doctor_command.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "cli/child_process.h"
#include "cli/doctor/examination.h"
#include "cli/doctor/finding.h"
#include "cli/interrupt.h"
#include "cli/sample_progress.h"
#include "cli/set_option.h"
#include "common/base/checkpoint_names.h"
#include "common/base/usable_cores.h"
#include "common/process/exit_code.h"
#include "common/process/without_throwing.h"

namespace flowawr {
namespace {

constexpr char kDescription[] = "Tell what is wrong with this machine, a configuration or a run, before hours are spent";

constexpr char kFooter[] = R"(Examples:
  flowawr doctor                              this machine alone
  flowawr doctor configs/tiny-ocr.yaml        a run that would begin; the same as `flowawr run CONFIG --dry-run`
  flowawr doctor runs/tiny-ocr                a run that would go on
  flowawr doctor config.yaml --no-scorers --no-time    nothing is started and nothing measured

A line each: ok, warn (a run would begin, and you may wish it had not) or bad (it would not begin, or fail), and what to
do. Looked at are programs, LibTorch, the processor and GPUs (driver, CUDA, NCCL); the configuration and its devices; the
model's files; the prompts (lines that cannot be read, repeated or held-out ones among the training prompts, those that
the text encoders cut, and those that a reward can never score); memory; the run's folder and the room on its disk;
certificates, tokens and ports; the reward servers that are named, and those that the run would start, which are started
for the while; and how long it would take.

Exit code 78 when a check is bad.)";

struct Arguments {
  ExaminationRequest request;
  bool json = false, no_time = false, no_scorers = false;
};

absl::Status Report(const ExaminationRequest& request, bool as_json) {
  std::vector<Finding> findings;
  const Interrupt interrupt;
  SampleProgress progress;
  Examine(
      request, [&interrupt] { return !interrupt.came(); }, [&](const std::string& line) { progress.Show(line); },
      [&](Finding finding) {
        if (!as_json) std::fputs(FindingText(finding).c_str(), stdout);
        std::fflush(stdout);
        findings.push_back(std::move(finding));
      });
  if (interrupt.came()) return absl::CancelledError("stopped");
  std::fputs(as_json ? FindingsJson(findings).c_str() : absl::StrCat(SumUp(findings), "\n").c_str(), stdout);
  std::fflush(stdout);  // before the error on stderr
  return Verdict(findings);
}

// A folder with checkpoints is a run that would go on.
bool HoldsARun(const std::string& config) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(config, ignored)) return false;
  const auto names = CheckpointNames(config + "/checkpoints");
  return names.ok() && !names->empty();
}

}  // namespace

absl::Status ExamineRun(const RunRequest& request) {
  return WithoutThrowing("the examination failed", [&] { return Report({.run = request}, /*as_json=*/false); });
}

void AddDoctorCommand(CLI::App& app, int* exit_code) {
  const auto arguments = std::make_shared<Arguments>();
  RunRequest& run = arguments->request.run;
  CLI::App* command = app.add_subcommand("doctor", kDescription);
  command->footer(kFooter);
  command->add_option("CONFIG", run.config, "a run's configuration, or the folder of a run; none: this machine alone")
      ->type_name("CONFIG.yaml|RUN_DIR");
  command->add_option("--run-dir", run.run_dir, "folder of the run; default: run_dir of the configuration")
      ->type_name("DIR");
  AddSetOption(*command, &run.overrides);
  command->add_flag("--no-time", arguments->no_time, "do not measure how long it would take");
  command->add_flag("--no-scorers", arguments->no_scorers, "start no reward server; ask those that are named");
  command->add_flag("--json", arguments->json, "for programs");
  command->callback([arguments, exit_code] {
    ExaminationRequest& request = arguments->request;
    request.measures_time = !arguments->no_time;
    request.starts_scorers = !arguments->no_scorers;
    request.run.resume = HoldsARun(request.run.config);
    request.run.cores = UsableCoresHere().count;
    request.run.binaries = FolderOfPrograms();
    *exit_code = ReportAndExitCodeOf(
        WithoutThrowing("the examination failed", [&] { return Report(request, arguments->json); }));
  });
}

}  // namespace flowawr
