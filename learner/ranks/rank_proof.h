// Both ends of a new link show that they know the same token, without sending it:
//
//   rank 0 ── kProve: a ──> rank i
//   rank 0 <── kProve: b, HMAC(token, "rank", a, b, hello) ── rank i
//   rank 0 ── kWelcome: HMAC(token, "rank 0", a, b, hello) ──> rank i      or kRefused: why
//
// a and b are random, HMAC is HMAC-SHA256, hello is what the rank had said of itself: whoever changed it on its way, or
// heard an earlier exchange, cannot repeat it. What follows on the link is neither encrypted nor signed. Without tokens
// both have the empty one.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "learner/ranks/rank_link.h"

namespace flowawr {

// The tokens as they are now, at least one: rank 0 takes any of them, a rank shows the first.
using RankTokens = std::function<absl::StatusOr<std::vector<std::string>>()>;

// Rank 0's side, within `limit` in all, as a rank that says a byte now and then would stay for ever. PermissionDenied
// when the other does not know a token.
absl::Status AdmitRank(RankLink& link, const RankTokens& tokens, const std::string& hello, absl::Duration limit);

// The other's, within `limit` in all. PermissionDenied when either does not know the other's token.
absl::Status ProveToRank0(RankLink& link, const RankTokens& tokens, const std::string& hello, absl::Duration limit);

}  // namespace flowawr
