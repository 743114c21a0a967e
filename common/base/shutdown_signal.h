// SIGTERM, SIGINT and SIGHUP as something to wait for.
//
// Programs that end others often send two at once, to the process and to its group, as `timeout` does. So a signal
// counts only when kSettleTime has passed since the one that counted before: a second one is somebody's wish. SIGHUP is
// left out where it was ignored from the beginning (nohup).
//
// Construct it first thing in main(), before any thread starts: it blocks these signals in the calling thread, and
// threads inherit that. One instance a process.
#pragma once

#include <chrono>
#include <optional>

#include "absl/time/time.h"

namespace flowawr {

class ShutdownSignal {
 public:
  static constexpr absl::Duration kSettleTime = absl::Seconds(1);

  ShutdownSignal();

  // Waits for a signal that counts; true when one came, false when `timeout` passed first. One thread at a time.
  bool Wait(absl::Duration timeout = absl::InfiniteDuration());

 private:
  std::optional<std::chrono::steady_clock::time_point> counted_;  // the last one
};

// For a program without children, first thing in main(): as PID 1 of a container it would be given the orphans of
// others, and these are then reaped by themselves.
void LetOrphansBeReaped();

}  // namespace flowawr
