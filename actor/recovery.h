// What an actor does after an RPC to the learner: tables from status codes to actions. Pure.
#pragma once

#include "absl/status/status.h"

namespace flowawr {

enum class RegisterAction {
  kProceed,
  kRetry,   // the learner is not up, or busy
  kGiveUp,  // it will never take this actor: wrong model, wrong token, wrong configuration
};
RegisterAction AfterRegister(const absl::Status& status);

enum class LeaseAction {
  kProceed,
  kAskAgain,    // an ordinary timeout of the long poll
  kReregister,  // the learner went away or does not know this actor: all leases are void
  kGiveUp,
};
LeaseAction AfterAcquire(const absl::Status& status);

// A heartbeat's answer says that the learner does not know this actor: it was restarted, register again. A heartbeat
// that just failed proves nothing.
bool IsForgotten(const absl::Status& heartbeat);

enum class SubmitAction {
  kDone,    // accepted, now or before
  kRetry,   // the network or the learner was at fault
  kForget,  // the learner does not know the lease (any more): another attempt makes the group
  kFail,    // the learner refuses this group: hand the lease back with the reason
};
SubmitAction AfterSubmit(const absl::Status& status);

}  // namespace flowawr
