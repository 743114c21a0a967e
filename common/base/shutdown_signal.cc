#include "common/base/shutdown_signal.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace flowawr {
namespace {

sigset_t StopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  struct sigaction now {};
  if (sigaction(SIGHUP, nullptr, &now) == 0 && now.sa_handler != SIG_IGN) sigaddset(&signals, SIGHUP);
  return signals;
}

}  // namespace

ShutdownSignal::ShutdownSignal() {
  const sigset_t signals = StopSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);  // a file limit is an error of write(), not the end of the process
}

bool ShutdownSignal::Wait(absl::Duration timeout) {
  using Monotonic = std::chrono::steady_clock;
  const sigset_t signals = StopSignals();
  const Monotonic::time_point begin = Monotonic::now();
  while (true) {
    const absl::Duration left = std::max(timeout - absl::FromChrono(Monotonic::now() - begin), absl::ZeroDuration());
    const timespec limit = absl::ToTimespec(left);
    const int received =
        timeout == absl::InfiniteDuration() ? sigwaitinfo(&signals, nullptr) : sigtimedwait(&signals, nullptr, &limit);
    if (received < 0 && errno == EAGAIN) return false;
    if (received < 0) continue;
    const Monotonic::time_point now = Monotonic::now();
    if (counted_ && absl::FromChrono(now - *counted_) < kSettleTime) continue;
    counted_ = now;
    return true;
  }
}

void LetOrphansBeReaped() {
  if (getpid() == 1) signal(SIGCHLD, SIG_IGN);
}

}  // namespace flowawr
