#include "cli/supervisor.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/base/utf8.h"
#include "common/process/exit_code.h"

namespace flowawr {
namespace {

constexpr int kTailLines = 12;
constexpr size_t kMostMessageLines = 64;  // more than any program's message has
constexpr uint64_t kMostTailBytes = 64 << 10;
constexpr size_t kMostReasonBytes = 240;  // of a message within a sentence

// What the log holds after byte `from`, its last 64 KiB at most.
std::string ReadTail(const std::string& log_file, uint64_t from) {
  std::ifstream log(log_file, std::ios::binary | std::ios::ate);
  if (!log) return "";
  const uint64_t size = static_cast<uint64_t>(log.tellg());
  from = std::max(from, size > kMostTailBytes ? size - kMostTailBytes : 0);
  if (from >= size) return "";
  std::string text(size - from, '\0');
  log.seekg(static_cast<std::streamoff>(from));
  log.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(log.gcount()));
  return text;
}

std::string MessageStart(absl::string_view program) {
  return absl::StrCat(program.substr(program.rfind('/') + 1), ": ");  // npos + 1 is 0
}

// What the run ends with when the end of a process, in ChildProcess::Poll()'s words, ends it. One that was killed from
// outside, by a system without memory above all, has done nothing wrong.
absl::StatusCode CodeOfEnd(absl::string_view end) {
  int number = 0;
  if (absl::ConsumePrefix(&end, "exit status ") && absl::SimpleAtoi(end, &number)) return CodeOfExit(number);
  const bool is_killed = absl::StartsWith(end, absl::StrCat("signal ", SIGKILL, " ")) ||
                         absl::StartsWith(end, absl::StrCat("signal ", SIGTERM, " "));
  return is_killed ? absl::StatusCode::kAborted : absl::StatusCode::kInternal;
}

uint64_t SizeOf(const std::string& file) {
  std::error_code error;
  const uintmax_t size = std::filesystem::file_size(file, error);
  return error ? 0 : size;
}

}  // namespace

std::string TailOfLog(const std::string& log_file, int lines, absl::string_view program, uint64_t from) {
  const std::string text = ReadTail(log_file, from);
  std::vector<absl::string_view> all = absl::StrSplit(text, '\n');
  if (!all.empty() && all.back().empty()) all.pop_back();
  size_t shown = std::min(all.size(), static_cast<size_t>(lines));
  const std::string start = MessageStart(program);
  for (size_t count = shown; count < all.size() && count < kMostMessageLines && !program.empty(); ++count)
    if (absl::StartsWith(all[all.size() - count - 1], start)) shown = count + 1;
  return absl::StrJoin(all.end() - static_cast<std::ptrdiff_t>(shown), all.end(), "\n");
}

std::string LastMessage(const std::string& log_file, absl::string_view program, uint64_t from) {
  const std::string text = ReadTail(log_file, from), start = MessageStart(program);
  const std::vector<absl::string_view> all = absl::StrSplit(text, '\n');
  for (auto line = all.rbegin(); line != all.rend(); ++line)
    if (absl::StartsWith(*line, start)) return std::string(TruncateUtf8(line->substr(start.size()), kMostReasonBytes));
  return "";
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
      if (const std::optional<std::string> how = process.child->Poll()) HandleExit(process, *how, events);
    } else if (process.restart_at && *process.restart_at <= clock_.Now() && !is_ending_) {
      process.restart_at.reset();
      const std::string message =
          LastMessage(process.spec.log_file, process.spec.arguments.front(), process.log_begins_at);
      if (const absl::Status status = StartChild(process); !status.ok()) {
        Fail(process, process.end, std::string(status.message()));
      } else {
        events.push_back(absl::StrCat(process.spec.name, " ended", process.end.empty() ? "" : " with ", process.end,
                                      " and was started again", message.empty() ? "" : ": ", message,
                                      " (log: ", process.spec.log_file, ")"));
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
  process.log_begins_at = SizeOf(process.spec.log_file);
  absl::StatusOr<ChildProcess> child = ChildProcess::Start(process.spec.arguments, process.spec.log_file,
                                                             process.spec.inherited_descriptor);
  if (!child.ok()) return child.status();
  process.child = *std::move(child);
  process.started = clock_.Now();
  ++process.starts;
  return absl::OkStatus();
}

void Supervisor::HandleExit(Process& process, const std::string& how, std::vector<std::string>& events) {
  process.child.reset();
  process.end = how;
  if (clock_.Now() - process.started >= kStableLife) process.restarts = 0;
  int& restarts_counted = process.spec.is_dispensable ? process.restarts_of_its_own : restarts_in_run_;
  const RestartDecision decision = DecideRestart({.role = process.spec.role,
                                                  .succeeded = how.empty(),
                                                  .is_hopeless = IsHopeless(how, process.starts == 1),
                                                  .run_is_ending = is_ending_,
                                                  .restarts = process.restarts,
                                                  .is_dispensable = process.spec.is_dispensable,
                                                  .restarts_counted = restarts_counted,
                                                  .max_restarts = max_restarts_});
  switch (decision.action) {
    case RestartDecision::Action::kNothing:
      // A learner that breaks while it stops has not kept everything.
      if (process.spec.role == ProcessRole::kLearner && !how.empty()) Fail(process, how, "the learner failed");
      break;
    case RestartDecision::Action::kRestart:
      if (!how.empty()) {
        ++process.restarts;
        ++restarts_counted;
      }
      process.restart_at = clock_.Now() + decision.delay;
      break;
    case RestartDecision::Action::kGiveUp:
      events.push_back(absl::StrCat(process.spec.name, " ended with ", how, "; ", decision.reason,
                                    ": the run goes on without it (log: ", process.spec.log_file, ")"));
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
  const std::string tail = TailOfLog(process.spec.log_file, kTailLines, process.spec.arguments.front(), process.log_begins_at);
  failure_ = absl::Status(
      CodeOfEnd(how), absl::StrCat(reason, ": ", process.spec.name, " ended", how.empty() ? "" : " with ", how,
                                   ". The end of ", process.spec.log_file, ":\n", tail.empty() ? "(empty)" : tail));
}

}  // namespace flowawr
