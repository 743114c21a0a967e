#include "cli/interrupt.h"

#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/base/shutdown_signal.h"

namespace flowawr {
namespace {

std::atomic<int64_t> first_ns = 0;  // monotonic; 0: no signal yet
static_assert(std::atomic<int64_t>::is_always_lock_free, "a signal handler may use nothing else");

int64_t Now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return absl::ToInt64Nanoseconds(absl::DurationFromTimespec(now));
}

void Note(int /*signal*/) {
  const int64_t now = Now();
  int64_t first = 0;
  if (!first_ns.compare_exchange_strong(first, now)) {
    if (now - first >= absl::ToInt64Nanoseconds(ShutdownSignal::kSettleTime)) _exit(130);
    return;
  }
  constexpr absl::string_view kLine =
      "\nstopping after this step; Ctrl-C again, a second later or more, stops at once\n";
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, kLine.data(), kLine.size());
}

}  // namespace

Interrupt::Interrupt() {
  first_ns = 0;
  struct sigaction action = {};
  action.sa_handler = Note;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, &int_before_);
  sigaction(SIGTERM, &action, &term_before_);
  sigaction(SIGHUP, nullptr, &hup_before_);
  if (hup_before_.sa_handler != SIG_IGN) sigaction(SIGHUP, &action, nullptr);  // ignored: nohup
}

Interrupt::~Interrupt() {
  sigaction(SIGINT, &int_before_, nullptr);
  sigaction(SIGTERM, &term_before_, nullptr);
  sigaction(SIGHUP, &hup_before_, nullptr);
}

bool Interrupt::came() const { return first_ns > 0; }

}  // namespace flowawr
