#include "cli/control_commands.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "cli/learner_connection.h"
#include "cli/panel.h"
#include "cli/progress_display.h"
#include "cli/run_folder.h"
#include "cli/run_history.h"
#include "cli/text_lines.h"
#include "common/base/clock.h"
#include "common/base/shell_quote.h"
#include "common/base/status.h"
#include "common/process/exit_code.h"
#include "common/telemetry/message_json.h"

namespace flowawr {
namespace {

constexpr absl::Duration kAnswerTime = absl::Seconds(10);
// A checkpoint is written between two updates, and an update may take minutes.
constexpr absl::Duration kBetweenUpdates = absl::Minutes(30);
constexpr absl::Duration kReconnectTime = absl::Seconds(60);
constexpr absl::Duration kReconnectPause = absl::Seconds(1);
constexpr int kPipeWidth = 100;

int TerminalWidth() {
  winsize size{};
  return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : kPipeWidth;
}

absl::StatusOr<v1::Status> AskStatus(const LearnerAddress& address) {
  FLOWAWR_ASSIGN_OR_RETURN(LearnerConnection learner, LearnerConnection::Open(address));
  return learner.Call(&v1::Control::Stub::GetStatus, v1::GetStatusRequest(), kAnswerTime);
}

// What a checkpoint does not keep of its last update, from the run's metrics.
void AddLastUpdate(const std::string& run_dir, v1::Status* status) {
  const absl::StatusOr<RunHistory> history = ReadRunMetrics(run_dir);
  if (!history.ok()) return;
  for (const UpdateRecord& record : history->updates) {
    if (record.update != status->update()) continue;
    if (record.reward_mean) status->set_reward_mean(*record.reward_mean);
    if (record.loss) status->set_loss(*record.loss);
    if (record.kl) status->set_kl(*record.kl);
    if (record.grad_norm) status->set_grad_norm(*record.grad_norm);
  }
}

// From the learner, or from the newest checkpoint of a run that is stopped.
absl::StatusOr<v1::Status> FindStatus(const LearnerAddress& address) {
  absl::StatusOr<v1::Status> status = AskStatus(address);
  if (status.ok() || !IsLearnerGone(status.status()) || address.run_dir.empty() || !address.learner.empty())
    return status;
  FLOWAWR_RETURN_IF_ERROR(ReadRunFolderConfig(address.run_dir).status());
  FLOWAWR_ASSIGN_OR_RETURN(const CheckpointFolder checkpoint, NewestCheckpoint(address.run_dir));
  v1::Status stopped = StatusOfCheckpoint(checkpoint, address.run_dir);
  AddLastUpdate(address.run_dir, &stopped);
  return stopped;
}

absl::Status PrintStatus(const LearnerAddress& address, bool as_json) {
  FLOWAWR_ASSIGN_OR_RETURN(const v1::Status status, FindStatus(address));
  if (!as_json) {
    std::fputs(DescribeStatus(status, TerminalWidth()).c_str(), stdout);
    return absl::OkStatus();
  }
  std::printf("%s\n", MessageAsJson(status).dump(2).c_str());
  return absl::OkStatus();
}

bool IsOver(v1::RunPhase phase) { return phase == v1::FINISHED || phase == v1::FAILED; }

// Shows one stream until it ends; `last` is the newest status of all streams.
absl::Status WatchOnce(LearnerConnection& learner, ProgressDisplay* screen, v1::Status* last, bool* was_heard) {
  const auto context = learner.Context(absl::Hours(24 * 365));
  const auto reader = learner.control().WatchStatus(context.get(), {});
  while (reader->Read(last)) {
    *was_heard = true;
    screen->Show(*last);
  }
  const grpc::Status end = reader->Finish();
  return end.ok() ? absl::UnavailableError("the learner stopped") : learner.Explain(end);
}

// The rewards that the run's folder knows, where it is here, so that the trend begins before this command did.
void AddPast(const LearnerAddress& address, ProgressDisplay* screen) {
  if (address.run_dir.empty()) return;
  const absl::StatusOr<RunHistory> history = ReadRunMetrics(address.run_dir);
  if (!history.ok()) return;
  for (const UpdateRecord& record : history->updates)
    if (record.reward_mean) screen->AddPast(record.update, *record.reward_mean, record.rewards_version);
}

// A run that stopped may be resumed, at another address perhaps: keep trying for a while.
absl::Status Watch(const LearnerAddress& address) {
  FLOWAWR_ASSIGN_OR_RETURN(LearnerConnection learner, LearnerConnection::Open(address));
  ProgressDisplay screen;
  AddPast(address, &screen);
  v1::Status last;
  bool was_ever_heard = false;
  absl::Time give_up = MonotonicNow() + kReconnectTime;
  while (true) {
    bool was_heard = false;
    const absl::Status end = WatchOnce(learner, &screen, &last, &was_heard);
    was_ever_heard |= was_heard;
    if (last.phase() == v1::FAILED) return absl::InternalError(absl::StrCat("the run failed: ", last.message()));
    if (IsOver(last.phase())) return absl::OkStatus();
    if (was_heard) give_up = MonotonicNow() + kReconnectTime;
    if (!was_ever_heard || !IsLearnerGone(end) || MonotonicNow() >= give_up) return end;
    learner.WaitForAnother(kReconnectPause);
    // The addresses of a run that is just being resumed are not there for a moment.
    if (absl::StatusOr<LearnerConnection> again = LearnerConnection::Open(address); again.ok())
      learner = *std::move(again);
  }
}

absl::Status Pause(const LearnerAddress& address) {
  FLOWAWR_ASSIGN_OR_RETURN(LearnerConnection learner, LearnerConnection::Open(address));
  FLOWAWR_ASSIGN_OR_RETURN(const v1::Status status,
                           learner.Call(&v1::Control::Stub::Pause, v1::PauseRequest(), kAnswerTime));
  const std::string run = address.learner.empty() ? ShellQuote(address.run_dir)
                                                   : absl::StrCat("--learner ", ShellQuote(address.learner));
  if (const std::string& cause = status.pause_cause(); cause.empty() || cause == "operator") {
    std::printf("paused after update %lu; what is under way is finished and kept. `flowawr resume %s` goes on\n",
                static_cast<unsigned long>(status.update()), run.c_str());
  } else {
    std::printf("it was paused already, after update %lu: %s\n", static_cast<unsigned long>(status.update()),
                status.message().c_str());
  }
  return absl::OkStatus();
}

absl::Status Resume(const LearnerAddress& address) {
  FLOWAWR_ASSIGN_OR_RETURN(LearnerConnection learner, LearnerConnection::Open(address));
  FLOWAWR_ASSIGN_OR_RETURN(const v1::Status status,
                           learner.Call(&v1::Control::Stub::Resume, v1::ResumeRequest(), kAnswerTime));
  std::printf("going on after update %lu\n", static_cast<unsigned long>(status.update()));
  return absl::OkStatus();
}

absl::Status Checkpoint(const LearnerAddress& address) {
  FLOWAWR_ASSIGN_OR_RETURN(LearnerConnection learner, LearnerConnection::Open(address));
  FLOWAWR_ASSIGN_OR_RETURN(const v1::CheckpointResponse response,
                           learner.Call(&v1::Control::Stub::Checkpoint, v1::CheckpointRequest(), kBetweenUpdates));
  std::printf("%s\n", response.path().c_str());
  return absl::OkStatus();
}

void AddCommand(CLI::App& app, int* exit_code, const char* name, const char* description, const char* footer,
                std::function<absl::Status(const LearnerAddress&)> call) {
  auto address = std::make_shared<LearnerAddress>();
  CLI::App* command = app.add_subcommand(name, description);
  command->footer(footer);
  AddLearnerOptions(command, address.get());
  command->callback([address, exit_code, call = std::move(call)] { *exit_code = ReportAndExitCodeOf(call(*address)); });
}

std::string StageSeconds(const v1::Status& status) {
  std::vector<std::pair<std::string, double>> stages(status.learner_seconds().begin(), status.learner_seconds().end());
  std::sort(stages.begin(), stages.end(), [](const auto& a, const auto& b) {
    return a.second != b.second ? a.second > b.second : a.first < b.first;
  });
  return absl::StrJoin(stages, ", ", [](std::string* out, const auto& stage) {
    absl::StrAppend(out, stage.first, absl::StrFormat(" %.1f s", std::max(stage.second, 0.0)));
  });
}

}  // namespace

std::string DescribeStatus(const v1::Status& status, int width) {
  std::vector<std::string> lines = RenderPanel(status, width);
  const auto add = [&](const std::string& line) {
    for (std::string& part : WrapText(line, std::max(width, 20), 4)) lines.push_back(std::move(part));
  };
  if (!status.learner_seconds().empty()) add(absl::StrCat("  learner  ", StageSeconds(status)));
  if (status.reward_spec().version() == 1) add(absl::StrCat("  rewards  ", DescribeRewardSpec(status.reward_spec())));
  // Not wrapped: a path is there to be copied.
  if (!status.last_checkpoint().empty()) lines.push_back(absl::StrCat("  saved    ", status.last_checkpoint()));
  return absl::StrCat(absl::StrJoin(lines, "\n"), "\n");
}

void AddControlCommands(CLI::App& app, int* exit_code) {
  auto as_json = std::make_shared<bool>(false);
  AddCommand(app, exit_code, "status", "Show how a run stands, going on or stopped",
             "Examples:\n  flowawr status runs/tiny-ocr\n  flowawr status --learner 127.0.0.1:50051 --json",
             [as_json](const LearnerAddress& address) { return PrintStatus(address, *as_json); });
  app.get_subcommand("status")->add_flag("--json", *as_json, "everything the learner tells, for scripts");
  AddCommand(app, exit_code, "watch", "Follow a run until it ends",
             "Example:\n  flowawr watch runs/tiny-ocr\n\n"
             "A panel on a terminal, in colour unless NO_COLOR is set, lines in a pipe. Ctrl-C stops watching, not the run.",
             Watch);
  AddCommand(app, exit_code, "pause", "Hold a run: no new groups, no new update",
             "Example:\n  flowawr pause runs/tiny-ocr\n\nWhat is under way is finished and kept.", Pause);
  AddCommand(app, exit_code, "resume", "Let a paused run go on",
             "Example:\n  flowawr resume runs/tiny-ocr\n\n"
             "A run that is stopped, not paused, is continued by `flowawr run RUN_DIR --resume`.",
             Resume);
  AddCommand(app, exit_code, "checkpoint", "Write a checkpoint now and print its folder",
             "Example:\n  flowawr checkpoint runs/tiny-ocr\n\nIt is written after the update under way.", Checkpoint);
}

}  // namespace flowawr
