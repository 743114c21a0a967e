// When the run loop stands still: on request, or because something keeps it from going on; and when it is to end.
#pragma once

#include <atomic>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "learner/lease_desk.h"
#include "learner/run_figures.h"

namespace flowawr {

// RequestStop() and is_stopping() are for any thread, the others for the run loop's.
class RunHold {
 public:
  // Hears of every pause that is over, by its date. Both outlive it.
  using WasPaused = std::function<void(absl::Time date, absl::Duration length)>;
  RunHold(LeaseDesk* leases, RunFigures* figures, WasPaused was_paused)
      : leases_(*leases), figures_(*figures), was_paused_(std::move(was_paused)) {}

  // Ends every wait here, and those for groups once.
  void RequestStop();
  bool is_stopping() const { return is_stopping_; }
  const std::atomic<bool>& stopping() const { return is_stopping_; }

  // Until somebody resumes or stops the run.
  void WaitWhilePaused();
  // Pauses with `why` and waits as above. `cause`: see LeaseDesk::Pause().
  void Hold(const std::string& why, const std::string& cause);
  // Writes something of the run. While that fails the run is held, with `what` in the message, and it is tried again
  // whenever somebody resumes; the error once somebody stops the run.
  absl::Status Persist(const std::string& what, const std::function<absl::Status()>& write);

 private:
  LeaseDesk& leases_;
  RunFigures& figures_;
  const WasPaused was_paused_;
  std::atomic<bool> is_stopping_ = false;
};

}  // namespace flowawr
