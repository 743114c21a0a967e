// How long whatever others send to the learner may be, checked before anything of it is stored. Pure.
//
// gRPC bounds a whole message; these bound its strings, lists and labels, so that no caller fills the status, the metrics
// page or a checkpoint. Protobuf has made sure that every string is UTF-8. What a reward spec may hold:
// common/scoring/reward_spec_check.h.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "flowawr/v1/policy.pb.h"
#include "flowawr/v1/rollout.pb.h"

namespace flowawr {

inline constexpr size_t kMaxActorIdBytes = 128, kMaxSessionBytes = 64, kMaxStageNameBytes = 32;
inline constexpr int kMaxModelParts = 64;
inline constexpr size_t kMaxPartNameBytes = 64, kMaxPartBytes = 128;
inline constexpr int kMaxStages = 32, kMaxSpans = 64, kMaxHeldLeases = 65536;
inline constexpr size_t kMaxEndpointBytes = 256;
inline constexpr int kMaxFailedPeers = 16;
inline constexpr size_t kMaxFailureBytes = 500;
inline constexpr int kMaxScoreDetails = 32;
inline constexpr size_t kMaxScoreTextBytes = 16384;

// InvalidArgument, naming the field and its bound.
absl::Status CheckActor(absl::string_view actor_id, absl::string_view session);
absl::Status CheckRequest(const v1::RegisterRequest& request);
absl::Status CheckRequest(const v1::RenewLeasesRequest& request);
absl::Status CheckRequest(const v1::FetchPolicyRequest& request);
absl::Status CheckRequest(const v1::GroupHeader& header);

// The label under which a failure is counted: `cause` if it is one that actors know, else "other".
std::string FailureLabel(absl::string_view cause);
// `message`, cut to kMaxFailureBytes.
std::string FailureText(absl::string_view message);

}  // namespace flowawr
