#include "cli/run_command.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "cli/child_process.h"
#include "cli/doctor_command.h"
#include "cli/panel.h"
#include "cli/report.h"
#include "cli/run_folder.h"
#include "cli/run_plan.h"
#include "cli/run_session.h"
#include "cli/set_option.h"
#include "common/base/shell_quote.h"
#include "common/base/shutdown_signal.h"
#include "common/base/status.h"
#include "common/base/usable_cores.h"
#include "common/process/exit_code.h"
#include "common/process/processor.h"
#include "common/tensor/learner_devices.h"

namespace flowawr {
namespace {

constexpr char kDescription[] = "Train: start every process of a run on this machine, watch it, report it.";

constexpr char kFooter[] =
    R"(Examples:
  flowawr run configs/tiny-ocr.yaml
  flowawr run configs/tiny-ocr.yaml --run-dir runs/second --set optimizer.learning_rate=5e-4 --set seed=2
  flowawr run runs/second --resume
  flowawr run configs/tiny-ocr.yaml --dry-run    # what would be wrong with it; see `flowawr doctor`

A reward server (when a reward term names no endpoint), the learner, its other ranks (train.ranks) and the actors are
started; all but the learner are started again when they die (local.max_restarts). Everything of a run is in its folder:
config.yaml, checkpoints/, logs/, events/ (TensorBoard), metrics.jsonl, images/, export/ (the adapter for peft and
diffusers), trace.json (a timeline for https://ui.perfetto.dev), report.html and summary.json. The line "live page" says
where a browser shows the run while it goes on.

Ctrl-C saves the run and ends it, as do SIGTERM and a terminal that is closed; --resume goes on from there (a run that
is only paused goes on by `flowawr resume`). A second Ctrl-C, a second later or more, kills it, which loses what came
after the last checkpoint.

Relative paths in the configuration start at the working directory; RUN_DIR/config.yaml has them in full.)";

std::string ResumeHint(const RunPlan& plan) {
  return absl::StrCat("go on with: flowawr run ", ShellQuote(plan.run_dir()), " --resume");
}

void PrintPlan(const RunPlan& plan, bool resume) {
  if (resume && !plan.continues) std::printf("%s has no checkpoint yet: the run begins anew\n", plan.run_dir().c_str());
  const ThreadBudget& budget = plan.budget;
  const int ranks = plan.config.train().ranks();
  std::printf("%s in %s: learner%s x%d threads, %d actor%s x%d, %s\n", plan.continues ? "continuing" : "starting",
              plan.run_dir().c_str(), ranks > 1 ? absl::StrCat(" of ", ranks, " ranks").c_str() : "",
              budget.learner_threads, budget.actors, budget.actors == 1 ? "" : "s", budget.actor_threads,
              plan.scorers.empty() ? "reward servers elsewhere"
                                   : absl::StrCat("reward server x", budget.reward_threads).c_str());
  const RunDevices& devices = plan.devices;
  if (devices.learner_has_accelerator || devices.accelerators > 0 || devices.reward_server != "cpu")
    std::printf("devices: %s\n", RunDevicesText(devices).c_str());
  if (const std::string warning = WarningOfSharedDevices(devices.learner, ranks); !warning.empty())
    std::printf("warning: %s\n", warning.c_str());
  std::printf("this machine: %s\n", DescribeProcessor().c_str());
  std::fflush(stdout);
}

void PrintResult(const RunPlan& plan, const v1::Status& last, bool has_report) {
  const std::string& folder = plan.run_dir();
  std::printf("\n%llu of %llu updates in %s\n", static_cast<unsigned long long>(last.update()),
              static_cast<unsigned long long>(last.updates_total()), FormatDuration(last.elapsed_s()).c_str());
  if (last.phase() == v1::FINISHED) {
    if (!last.message().empty()) std::printf("  %s\n", last.message().c_str());
    for (const std::string& warning : last.warnings()) std::printf("  warning  %s\n", warning.c_str());
  }
  if (last.has_base()) std::printf("  base   held-out %s\n", DescribeEvaluation(last.base()).c_str());
  if (last.has_latest() && last.latest().update() > 0)
    std::printf("  %s held-out %s\n", last.phase() == v1::FINISHED ? "final " : "latest",
                DescribeEvaluation(last.latest()).c_str());
  if (has_report) std::printf("  report   %s/report.html\n", folder.c_str());
  if (last.phase() == v1::FINISHED && std::filesystem::exists(folder + "/export/peft"))
    std::printf("  adapter  %s/export/peft, for diffusers %s/export/pytorch_lora_weights.safetensors\n", folder.c_str(),
                folder.c_str());
  std::fflush(stdout);  // before an error on stderr
}

absl::Status Run(const RunRequest& request, ShutdownSignal& signal) {
  FLOWAWR_ASSIGN_OR_RETURN(RunPlan plan, PlanRun(request));
  FLOWAWR_ASSIGN_OR_RETURN(const FolderLock lock, PrepareRunFolder(plan));
  PrintPlan(plan, request.resume);
  const RunOutcome outcome = RunProcesses(plan, lock, signal);
  // A run that never told a status has no history to report.
  const bool was_running = outcome.last.phase() != v1::RUN_PHASE_UNSPECIFIED;
  if (was_running) {
    const absl::Status report = WriteReport(plan.run_dir());
    PrintResult(plan, outcome.last, report.ok());
    if (!report.ok() && outcome.status.ok()) return Annotate(report, "the run is complete, its report failed");
  }
  // A start that failed before the learner accepted the configuration has left nothing to go on with.
  if (!outcome.status.ok() && !std::filesystem::exists(plan.ConfigFile())) return outcome.status;
  if (!outcome.status.ok())
    return absl::Status(outcome.status.code(), absl::StrCat(outcome.status.message(), "\n", ResumeHint(plan)));
  const std::string folder = ShellQuote(plan.run_dir());
  std::printf("next:\n  flowawr sample --run-dir %s --prompt '...'\n  flowawr run %s --resume %s\n", folder.c_str(),
              folder.c_str(), SettingsToTrainOn(plan.config, outcome.last.message()).c_str());
  return absl::OkStatus();
}

}  // namespace

void AddRunCommand(CLI::App& app, int* exit_code) {
  const auto request = std::make_shared<RunRequest>();
  CLI::App* command = app.add_subcommand("run", kDescription);
  command->footer(kFooter);
  command
      ->add_option("config", request->config,
                   "the run's configuration (docs/configuration.md), or the folder of a run to resume")
      ->type_name("CONFIG.yaml|RUN_DIR")
      ->required();
  command->add_option("--run-dir", request->run_dir, "folder of the run; default: run_dir of the configuration")
      ->type_name("DIR");
  AddSetOption(*command, &request->overrides);
  command->add_flag("--resume", request->resume, "go on with the run that the folder holds");
  command->add_flag("--accept-changed-prompts", request->accept_changed_prompts,
                    "with --resume: go on though the prompt files are not what they were");
  const auto is_dry = std::make_shared<bool>(false);
  command->add_flag("--dry-run", *is_dry, "start nothing that trains: look at everything that the run needs");
  const auto log_format = std::make_shared<std::string>();
  command->add_option("--log-format", *log_format, "of the processes' logs: text, or json for log stores")
      ->type_name("FORMAT")
      ->check(CLI::IsMember({"text", "json"}));
  command->callback([request, is_dry, log_format, exit_code] {
    // The processes that are started inherit it.
    if (!log_format->empty()) setenv("FLOWAWR_LOG_FORMAT", log_format->c_str(), 1);
    if (*is_dry) {
      request->cores = UsableCoresHere().count;
      request->binaries = FolderOfPrograms();
      *exit_code = ReportAndExitCodeOf(ExamineRun(*request));
      return;
    }
    ShutdownSignal signal;  // before any thread starts
    request->cores = UsableCoresHere().count;
    request->binaries = FolderOfPrograms();
    *exit_code = ReportAndExitCodeOf(Run(*request, signal));
  });
}

}  // namespace flowawr
