// `flowawr run` as a user starts it, on the small configuration in a temporary folder, and the commands typed beside
// it.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "flowawr/v1/control.pb.h"
#include "tests/system/process.h"
#include "tests/system/small_run.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {

struct CommandResult {
  int exit_code = -1;
  std::string output;  // and errors
};

// Runs `flowawr` with these arguments to its end.
CommandResult Flowawr(std::vector<std::string> arguments);

class LiveRun {
 public:
  // Two actors; the reward is the size as JPEG. Starts nothing yet.
  explicit LiveRun(const std::vector<std::string>& settings = {});
  // Ends what still runs; prints the logs when the test has failed.
  ~LiveRun();

  // Does not wait. `log_path` empty: a new file. May be called again once the one before has ended.
  Process& Start(const std::vector<std::string>& more_arguments = {}, std::string log_path = "");
  Process& process() { return *process_; }

  std::string run_dir() const { return folder_ / "run"; }
  const TempFolder& folder() const { return folder_; }

  // Of the learner of the latest Start(), as AwaitStatus().
  v1::Status WaitForStatus(absl::FunctionRef<bool(const v1::Status&)> wanted);
  v1::Status WaitForUpdate(uint64_t update);
  // Until the run's output holds `text`.
  bool WaitForOutput(const std::string& text) { return AwaitText(process_->log_path(), text, *process_); }

  // The process of the run that is called so: "learner", "actor-0", "reward-server". Waits for one that is starting.
  pid_t PidOf(const std::string& name) const;
  bool IsRunning(const std::string& name) const { return FindPid(name) > 0; }
  // SIGKILL, and waits until `flowawr run` says that it was started again.
  void KillAndWaitForRestart(const std::string& name);

  // The exported adapter, for peft; empty when there is none.
  std::string ExportedAdapter() const;

 private:
  pid_t FindPid(const std::string& name) const;  // 0: there is none

  TempFolder folder_;
  int starts_ = 0;
  std::unique_ptr<Process> process_;
};

// What an undisturbed run of the default settings exports. Run once a test program.
const std::string& LiveRunBaseline();

}  // namespace flowawr
