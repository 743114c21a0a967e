#include "cli/interrupt.h"

#include <unistd.h>

#include <atomic>

#include "absl/strings/string_view.h"

namespace flowawr {
namespace {

std::atomic<int> signals = 0;
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler may use nothing else");

void Note(int /*signal*/) {
  if (signals.fetch_add(1) > 0) _exit(130);
  constexpr absl::string_view kLine = "\nstopping after this step; a second Ctrl-C stops at once\n";
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, kLine.data(), kLine.size());
}

}  // namespace

Interrupt::Interrupt() {
  signals = 0;
  struct sigaction action = {};
  action.sa_handler = Note;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, &int_before_);
  sigaction(SIGTERM, &action, &term_before_);
}

Interrupt::~Interrupt() {
  sigaction(SIGINT, &int_before_, nullptr);
  sigaction(SIGTERM, &term_before_, nullptr);
}

bool Interrupt::came() const { return signals > 0; }

}  // namespace flowawr
