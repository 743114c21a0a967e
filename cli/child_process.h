// One process that dies with its parent and writes its output to a file.
//
// Start() forks and calls only async-signal-safe functions before exec: posix_spawn cannot ask for PR_SET_PDEATHSIG.
// That signal follows the *thread* that forked: start children from a thread that lives as long as they should.
// Not thread-safe.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace flowawr {

class ChildProcess {
 public:
  // `arguments[0]` is the path of the executable. stdout and stderr are appended to `log_file`; stdin is empty. The
  // child runs in a process group of its own, so that Ctrl-C at the terminal reaches only the parent, and with no
  // signal blocked; of the parent's descriptors it has `inherited`, unless that is negative. NotFound or Internal when
  // the executable or the log cannot be opened.
  static absl::StatusOr<ChildProcess> Start(const std::vector<std::string>& arguments, const std::string& log_file,
                                            int inherited = -1);

  pid_t pid() const { return pid_; }

  // How it ended, once it has: never waits. "exit status 3" or "signal 9 (Killed)" as text, "" for success.
  std::optional<std::string> Poll();

  // Nothing once it has ended.
  void Signal(int signal);

 private:
  explicit ChildProcess(pid_t pid) : pid_(pid) {}

  pid_t pid_;
  std::optional<std::string> end_;
};

// The folder of this very program, where the others of the service are, too.
std::string FolderOfPrograms();

}  // namespace flowawr
