// How many calls this process has refused at the door, by reason, for its metrics. Process-wide: servers and pages of a
// process count together.
#pragma once

#include <array>
#include <cstdint>

namespace flowawr {

enum class Reject {
  kNoToken,       // carried none where one is wanted
  kUnknownToken,  // carried one that nobody here has
  kRole,          // carried one whose role may not do that
  kAnotherPeer,   // was meant for another process
};
inline constexpr std::array kRejects = {Reject::kNoToken, Reject::kUnknownToken, Reject::kRole, Reject::kAnotherPeer};

// The value of the label `reason`: "no_token", "unknown_token", "role", "another_peer".
const char* NameOf(Reject reason);

// Both thread-safe, and cheap.
void CountReject(Reject reason);
uint64_t RejectsOf(Reject reason);

}  // namespace flowawr
