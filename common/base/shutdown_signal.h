// SIGTERM and SIGINT as something to wait for.
//
// Construct it first thing in main(), before any thread starts: it blocks both signals in the calling thread, and
// threads inherit that. One instance a process.
#pragma once

#include "absl/time/time.h"

namespace flowawr {

class ShutdownSignal {
 public:
  ShutdownSignal();

  // Waits for a signal; true when one came, false when `timeout` passed first. One thread at a time.
  bool Wait(absl::Duration timeout = absl::InfiniteDuration());
};

}  // namespace flowawr
