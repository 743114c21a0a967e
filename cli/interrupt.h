// Ctrl-C while there is something worth finishing.
#pragma once

#include <signal.h>

namespace flowawr {

// From its construction on, the first SIGINT, SIGTERM or SIGHUP is noted, with a line on stderr, and a second one, at
// least ShutdownSignal::kSettleTime later, ends the process at once with 130. Its destruction brings back what was
// before. One at a time, in a command's main thread.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  bool came() const;

 private:
  struct sigaction int_before_, term_before_, hup_before_;
};

}  // namespace flowawr
