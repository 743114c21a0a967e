// Whom a call is meant for. An address alone does not tell: a port that one run used may be another's by now.
//
// A server has identities (ServerOptions::identities): the learner its run and this very process, a reward server this
// very process. A call that names one which is not among them ends as FAILED_PRECONDITION before any handler sees it;
// a call that names none is served, as is health checking.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "grpcpp/client_context.h"

namespace flowawr {

inline constexpr char kPeerHeader[] = "flowawr-for";

// Of one process, and of all processes of one run.
std::string InstanceIdentity(const std::string& instance);
std::string RunIdentity(const std::string& run_id);

// The call is for the server with that identity and no other. Nothing for an empty one.
void MeantFor(const std::string& identity, grpc::ClientContext* context);

// Whether a call ended because another server than the one that it was meant for listens there.
bool IsAnotherPeer(const absl::Status& status);

}  // namespace flowawr
