// Keeps the processes of a run alive: starts them, notices their end, starts them again as restart_policy.h decides.
//
// Not thread-safe, and bound to the thread that calls Start() and Poll(): children die with that thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "cli/child_process.h"
#include "cli/restart_policy.h"
#include "common/base/clock.h"

namespace flowawr {

struct ProcessSpec {
  ProcessRole role = ProcessRole::kActor;
  std::string name;                    // unique in the run
  std::vector<std::string> arguments;  // [0] is the program
  std::string log_file;
  int inherited_descriptor = -1;  // as of ChildProcess
  bool is_dispensable = false;    // as of ProcessExit
};

class Supervisor {
 public:
  // `clock` must outlive the supervisor.
  Supervisor(int max_restarts, const Clock& clock) : max_restarts_(max_restarts), clock_(clock) {}
  // Kills what still runs, and waits for it.
  ~Supervisor();
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  absl::Status Start(ProcessSpec spec);

  // What a process of that name is started with from its next start on.
  void SetArguments(const std::string& name, std::vector<std::string> arguments);

  // Looks at every process, without waiting, and starts again what is due: one sentence about each of those, and about
  // each that the run goes on without. Where this
  // process is the one that orphans go to (as PID 1 of a container), it also reaps those that have ended.
  std::vector<std::string> Poll();

  // The run is over: nothing is started again. Set by Poll() too, when the learner ends or restarts are used up.
  void EndRun() { is_ending_ = true; }
  bool is_ending() const { return is_ending_; }

  // Why the run ended, when something broke: names the process, its log and the end of what its last life wrote there. The kind of error is the one
  // that the process's exit code stands for, else Internal; OK when nothing broke.
  const absl::Status& failure() const { return failure_; }

  // To every process of that role that runs.
  void Signal(ProcessRole role, int signal);

  bool IsRunning(ProcessRole role) const;

 private:
  struct Process {
    ProcessSpec spec;
    std::optional<ChildProcess> child;  // nullopt while it does not run
    absl::Time started;
    std::string end;  // "exit status 3", "" for success
    std::optional<absl::Time> restart_at;
    int starts = 0, restarts = 0;    // in all; in a row
    int restarts_of_its_own = 0;     // of one that is dispensable
    uint64_t log_begins_at = 0;      // what its present or last life writes to the log; lives before it lie before
  };

  absl::Status StartChild(Process& process);
  void ReapOrphans();
  void HandleExit(Process& process, const std::string& how, std::vector<std::string>& events);
  void Fail(const Process& process, const std::string& how, const std::string& reason);

  const int max_restarts_;
  const Clock& clock_;
  std::vector<Process> processes_;
  int restarts_in_run_ = 0;
  bool is_ending_ = false;
  absl::Status failure_;
};

// The end of a log, for an error: its last `lines` lines, and more when the message that `program` ended with
// ("PROGRAM: ...", which may have many lines) begins before them. Of what follows byte `from` alone, and of 64 KiB at
// most; "" when there is none.
std::string TailOfLog(const std::string& log_file, int lines, absl::string_view program = "", uint64_t from = 0);

// The first line of the last message of `program` in the log after byte `from`, without the program's name, cut to what
// a sentence may hold; "" when there is none.
std::string LastMessage(const std::string& log_file, absl::string_view program, uint64_t from = 0);

}  // namespace flowawr
