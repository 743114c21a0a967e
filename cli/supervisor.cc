#include "cli/supervisor.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/base/file.h"
#include "common/process/exit_code.h"

namespace flowawr {
namespace {

constexpr int kTailLines = 12;

}  // namespace

std::string TailOfLog(const std::string& log_file, int lines) {
  const absl::StatusOr<std::string> text = ReadFile(log_file);
  if (!text.ok()) return "";
  std::vector<absl::string_view> all = absl::StrSplit(*text, '\n');
  if (!all.empty() && all.back().empty()) all.pop_back();
  const size_t first = all.size() > static_cast<size_t>(lines) ? all.size() - static_cast<size_t>(lines) : 0;
  return absl::StrJoin(all.begin() + static_cast<std::ptrdiff_t>(first), all.end(), "\n");
}

Supervisor::~Supervisor() {
  for (Process& process : processes_) {
    if (!process.child || process.child->Poll()) continue;
    process.child->Signal(SIGKILL);
    siginfo_t info;
    waitid(P_PID, static_cast<id_t>(process.child->pid()), &info, WEXITED | WNOWAIT);
    process.child->Poll();
  }
}

absl::Status Supervisor::Start(ProcessSpec spec) {
  Process process;
  process.spec = std::move(spec);
  absl::Status status = StartChild(process);
  if (status.ok()) processes_.push_back(std::move(process));
  return status;
}

void Supervisor::SetArguments(const std::string& name, std::vector<std::string> arguments) {
  for (Process& process : processes_)
    if (process.spec.name == name) process.spec.arguments = arguments;
}

std::vector<std::string> Supervisor::Poll() {
  std::vector<std::string> events;
  ReapOrphans();
  for (Process& process : processes_) {
    if (process.child) {
      if (const std::optional<std::string> how = process.child->Poll()) HandleExit(process, *how);
    } else if (process.restart_at && *process.restart_at <= clock_.Now() && !is_ending_) {
      process.restart_at.reset();
      if (const absl::Status status = StartChild(process); !status.ok()) {
        Fail(process, process.end, std::string(status.message()));
      } else {
        events.push_back(absl::StrCat(process.spec.name, " ended", process.end.empty() ? "" : " with ", process.end,
                                      " and was started again (log: ", process.spec.log_file, ")"));
      }
    }
  }
  return events;
}

void Supervisor::Signal(ProcessRole role, int signal) {
  for (Process& process : processes_)
    if (process.spec.role == role && process.child) process.child->Signal(signal);
}

void Supervisor::ReapOrphans() {
  int is_subreaper = 0;
  prctl(PR_GET_CHILD_SUBREAPER, &is_subreaper);
  if (getpid() != 1 && is_subreaper == 0) return;
  while (true) {
    siginfo_t ended{};
    if (waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) != 0 || ended.si_pid == 0) return;
    // Its own children are told by Poll(), the next time at the latest.
    for (const Process& process : processes_)
      if (process.child && process.child->pid() == ended.si_pid) return;
    waitpid(ended.si_pid, nullptr, WNOHANG);
  }
}

bool Supervisor::IsRunning(ProcessRole role) const {
  return std::any_of(processes_.begin(), processes_.end(),
                     [role](const Process& process) { return process.spec.role == role && process.child; });
}

absl::Status Supervisor::StartChild(Process& process) {
  absl::StatusOr<ChildProcess> child = ChildProcess::Start(process.spec.arguments, process.spec.log_file,
                                                             process.spec.inherited_descriptor);
  if (!child.ok()) return child.status();
  process.child = *std::move(child);
  process.started = clock_.Now();
  return absl::OkStatus();
}

void Supervisor::HandleExit(Process& process, const std::string& how) {
  process.child.reset();
  process.end = how;
  if (clock_.Now() - process.started >= kStableLife) process.restarts = 0;
  const RestartDecision decision = DecideRestart({.role = process.spec.role,
                                                  .succeeded = how.empty(),
                                                  .is_hopeless = IsHopeless(how),
                                                  .run_is_ending = is_ending_,
                                                  .restarts = process.restarts,
                                                  .restarts_in_run = restarts_in_run_,
                                                  .max_restarts = max_restarts_});
  switch (decision.action) {
    case RestartDecision::Action::kNothing:
      // A learner that breaks while it stops has not kept everything.
      if (process.spec.role == ProcessRole::kLearner && !how.empty()) Fail(process, how, "the learner failed");
      break;
    case RestartDecision::Action::kRestart:
      if (!how.empty()) {
        ++process.restarts;
        ++restarts_in_run_;
      }
      process.restart_at = clock_.Now() + decision.delay;
      break;
    case RestartDecision::Action::kEndRun:
      if (decision.reason.empty()) {
        is_ending_ = true;
      } else {
        Fail(process, how, decision.reason);
      }
      break;
  }
}

void Supervisor::Fail(const Process& process, const std::string& how, const std::string& reason) {
  is_ending_ = true;
  if (!failure_.ok()) return;
  const std::string tail = TailOfLog(process.spec.log_file, kTailLines);
  int exit_code = 0;
  absl::string_view text = how;
  const bool has_code = absl::ConsumePrefix(&text, "exit status ") && absl::SimpleAtoi(text, &exit_code);
  const absl::StatusCode code = has_code ? CodeOfExit(exit_code) : absl::StatusCode::kInternal;
  failure_ =
      absl::Status(code, absl::StrCat(reason, ": ", process.spec.name, " ended", how.empty() ? "" : " with ", how,
                                      ". The end of ", process.spec.log_file, ":\n", tail.empty() ? "(empty)" : tail));
}

}  // namespace flowawr
