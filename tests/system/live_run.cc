#include "tests/system/live_run.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "common/base/file.h"
#include "common/config/run_config.h"

namespace flowawr {
namespace {

namespace fs = std::filesystem;

// What only the command line of that process holds.
std::string MarkOf(const std::string& run_dir, const std::string& name) {
  return absl::StrCat("--metrics-endpoint-file ", run_dir, "/endpoints/", name, ".metrics");
}

}  // namespace

CommandResult Flowawr(std::vector<std::string> arguments) {
  const TempFolder folder;
  arguments.insert(arguments.begin(), SystemProgram("flowawr"));
  const Process process(std::move(arguments), folder / "output");
  CommandResult result;
  result.exit_code = process.Wait();
  result.output = process.log();
  return result;
}

LiveRun::LiveRun(const std::vector<std::string>& settings) {
  // `small` is no kind of scorer: here the reward server is started by its kind, with what the configuration says.
  std::vector<std::string> all = {"rewards.terms.0={scorer: jpeg_compressibility, options: {scale: 1}}",
                                  "local.actors=2", "local.actor_threads=1", "local.reward_threads=1"};
  all.insert(all.end(), settings.begin(), settings.end());
  folder_.Write("config.yaml", RunConfigToYaml(SmallConfig(run_dir(), all)).value());
}

LiveRun::~LiveRun() {
  process_.reset();
  for (int i = 1; i <= starts_; ++i) ShowLogOfFailure(folder_ / absl::StrCat("output-", i));
  std::error_code ignored;
  for (fs::directory_iterator entry(run_dir() + "/logs", ignored), end; entry != end; entry.increment(ignored))
    ShowLogOfFailure(entry->path());
}

Process& LiveRun::Start(const std::vector<std::string>& more_arguments, std::string log_path) {
  ++starts_;
  if (log_path.empty()) log_path = folder_ / absl::StrCat("output-", starts_);
  std::vector<std::string> command = {SystemProgram("flowawr"), "run", folder_ / "config.yaml"};
  command.insert(command.end(), more_arguments.begin(), more_arguments.end());
  process_.reset();
  fs::remove_all(run_dir() + "/endpoints");  // of the start before
  process_ = std::make_unique<Process>(std::move(command), std::move(log_path));
  return *process_;
}

v1::Status LiveRun::WaitForStatus(absl::FunctionRef<bool(const v1::Status&)> wanted) {
  return AwaitStatus(AwaitEndpoint(run_dir() + "/endpoints/learner", *process_), wanted);
}

v1::Status LiveRun::WaitForUpdate(uint64_t update) {
  return WaitForStatus([update](const v1::Status& status) { return status.update() >= update; });
}

pid_t LiveRun::PidOf(const std::string& name) const {
  const absl::Time limit = absl::Now() + kPatience;
  while (absl::Now() < limit && !process_->WaitForExit(absl::Milliseconds(5)))
    if (const pid_t pid = FindPid(name); pid > 0) return pid;
  ADD_FAILURE() << "no process is called " << name;
  return -1;
}

pid_t LiveRun::FindPid(const std::string& name) const {
  std::error_code ignored;
  for (fs::directory_iterator entry("/proc", ignored), end; entry != end; entry.increment(ignored)) {
    pid_t pid = 0;
    if (!absl::SimpleAtoi(entry->path().filename().string(), &pid)) continue;
    const std::string command = ReadFile(absl::StrCat("/proc/", pid, "/cmdline")).value_or("");
    if (absl::StrContains(absl::StrReplaceAll(command, {{std::string(1, '\0'), " "}}), MarkOf(run_dir(), name)))
      return pid;
  }
  return 0;
}

void LiveRun::KillAndWaitForRestart(const std::string& name) {
  const pid_t pid = PidOf(name);
  ASSERT_GT(pid, 0);
  ASSERT_EQ(kill(pid, SIGKILL), 0);
  EXPECT_TRUE(WaitForOutput(absl::StrCat(name, " ended with signal 9 (Killed) and was started again")));
}

std::string LiveRun::ExportedAdapter() const {
  return ReadFile(run_dir() + "/export/peft/adapter_model.safetensors").value_or("");
}

const std::string& LiveRunBaseline() {
  static const std::string adapter = [] {
    LiveRun run;
    EXPECT_EQ(run.Start().Wait(), 0);
    EXPECT_FALSE(run.ExportedAdapter().empty());
    return run.ExportedAdapter();
  }();
  return adapter;
}

}  // namespace flowawr
