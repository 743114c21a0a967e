#include "learner/run_hold.h"

#include <spdlog/spdlog.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/clock.h"

namespace flowawr {

void RunHold::RequestStop() {
  is_stopping_ = true;
  leases_.Interrupt();
}

void RunHold::WaitWhilePaused() {
  if (!leases_.is_paused()) return;
  const absl::Time began = MonotonicNow(), date = absl::Now();
  figures_.BeginPause();
  while (leases_.is_paused() && !is_stopping()) leases_.WaitWhilePaused();
  figures_.EndPause();
  was_paused_(date, MonotonicNow() - began);
}

void RunHold::Hold(const std::string& why, const std::string& cause) {
  spdlog::warn("paused: {}", why);
  leases_.Pause(why, cause);
  WaitWhilePaused();
}

absl::Status RunHold::Persist(const std::string& what, const std::function<absl::Status()>& write) {
  while (true) {
    const absl::Status written = write();
    if (written.ok() || is_stopping()) return written;
    spdlog::error("{} could not be written: {}", what, written.ToString());
    Hold(absl::StrCat(what, " could not be written: ", written.message(), ". Then resume the run"), "disk");
  }
}

}  // namespace flowawr
