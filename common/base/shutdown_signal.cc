#include "common/base/shutdown_signal.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <cerrno>

namespace flowawr {
namespace {

sigset_t StopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
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
  const sigset_t signals = StopSignals();
  const bool is_endless = timeout == absl::InfiniteDuration();
  const timespec limit = absl::ToTimespec(std::max(timeout, absl::ZeroDuration()));
  while (true) {
    const int received = is_endless ? sigwaitinfo(&signals, nullptr) : sigtimedwait(&signals, nullptr, &limit);
    if (received > 0) return true;
    if (errno == EAGAIN) return false;
  }
}

}  // namespace flowawr
