// A real process of a test: started by posix_spawn, its output in a file, killed at the latest with this object.
#pragma once

#include <sys/types.h>

#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "absl/time/time.h"

namespace flowawr {

// How long a test waits for anything before it fails. Long: it says that something hangs, not that it is slow.
inline constexpr absl::Duration kPatience = absl::Minutes(4);

class Process {
 public:
  // `command[0]` is a path, or a program on PATH. Standard output and error go to `log_path`.
  Process(std::vector<std::string> command, std::string log_path);
  // SIGKILL, if it still runs.
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  void Signal(int signal);
  // False when it has not ended within `limit`.
  bool WaitForExit(absl::Duration limit) const { return ended_.WaitForNotificationWithTimeout(limit); }
  // The exit code, or 128 + the signal that ended it; fails the test when it does not end.
  int Wait() const;
  // SIGKILL, and waits.
  void Kill();

  std::string log() const;
  const std::string& log_path() const { return log_path_; }

 private:
  const std::string log_path_;
  pid_t pid_ = 0;
  int exit_code_ = -1;  // written before ended_
  absl::Notification ended_;
  std::thread reaper_;
};

}  // namespace flowawr
