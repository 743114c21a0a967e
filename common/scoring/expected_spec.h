// Compare and set for a run's reward spec: whoever changes what they have read says which version that was, and the
// learner refuses with Aborted when it is another by now. Said beside the request, in the call's metadata.
#pragma once

#include <cstdint>
#include <optional>

#include "grpcpp/client_context.h"
#include "grpcpp/server_context.h"

namespace flowawr {

// The call is to change the reward spec of that version and no other.
void ExpectRewardSpec(uint64_t version, grpc::ClientContext* context);

// What the caller expects; nullopt when it did not say, so that any version may be replaced.
std::optional<uint64_t> ExpectedRewardSpec(const grpc::ServerContextBase& context);

}  // namespace flowawr
