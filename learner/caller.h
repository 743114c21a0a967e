// Who may call: what every actor's call but its registration is checked for first.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "common/base/status.h"
#include "learner/desk.h"
#include "learner/request_limits.h"

namespace flowawr {

// OK for the session that registered under that id. InvalidArgument for an id or a session that is too long,
// FailedPrecondition for any other caller.
inline absl::Status CheckCaller(const Desk& desk, const std::string& actor_id, const std::string& session) {
  FLOWAWR_RETURN_IF_ERROR(CheckActor(actor_id, session));
  return desk.CheckSession(actor_id, session);
}

}  // namespace flowawr
