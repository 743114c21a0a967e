#include "learner/request_limits.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/host_port.h"
#include "common/base/status.h"
#include "common/base/utf8.h"

namespace flowawr {
namespace {

constexpr std::array<absl::string_view, 11> kCauses = {
    "actor_gone",    "actor_stopping",     "decode_failed", "encode_failed", "policy_failed", "reward_bad_input",
    "reward_failed", "reward_unreachable", "sample_failed", "submit_failed", "submit_refused"};

absl::Status CheckLength(absl::string_view field, size_t bytes, size_t most) {
  if (bytes <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(field, " has ", bytes, " bytes, at most ", most, " are taken"));
}

absl::Status CheckCount(absl::string_view field, int count, int most) {
  if (count <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(field, " has ", count, " entries, at most ", most, " are taken"));
}

template <typename Map>
absl::Status CheckStages(const Map& stages) {
  FLOWAWR_RETURN_IF_ERROR(CheckCount("stage_seconds", static_cast<int>(stages.size()), kMaxStages));
  for (const auto& [stage, seconds] : stages) {
    FLOWAWR_RETURN_IF_ERROR(CheckLength("a name in stage_seconds", stage.size(), kMaxStageNameBytes));
    if (!std::isfinite(seconds) || seconds < 0)
      return absl::InvalidArgumentError(absl::StrCat("stage_seconds of ", stage, " is no time: ", seconds));
  }
  return absl::OkStatus();
}

absl::Status CheckPeerEndpoint(const std::string& endpoint) {
  if (endpoint.empty()) return absl::OkStatus();
  FLOWAWR_RETURN_IF_ERROR(CheckLength("peer_endpoint", endpoint.size(), kMaxEndpointBytes));
  const absl::StatusOr<HostPort> address = ParseHostPort(endpoint);
  FLOWAWR_RETURN_IF_ERROR(Annotate(address.status(), "peer_endpoint"));
  if (address->port == 0) return absl::InvalidArgumentError("peer_endpoint names no port; tell the one listened on");
  return absl::OkStatus();
}

absl::Status CheckScore(const v1::TermScore& score) {
  FLOWAWR_RETURN_IF_ERROR(CheckCount("a score's details", static_cast<int>(score.details_size()), kMaxScoreDetails));
  for (const auto& [key, value] : score.details())
    FLOWAWR_RETURN_IF_ERROR(CheckLength("a score's detail", key.size() + value.size(), kMaxScoreTextBytes));
  return CheckLength("a score's error", score.error().message().size(), kMaxScoreTextBytes);
}

}  // namespace

absl::Status CheckActor(absl::string_view actor_id, absl::string_view session) {
  if (actor_id.empty()) return absl::InvalidArgumentError("actor_id is empty");
  FLOWAWR_RETURN_IF_ERROR(CheckLength("actor_id", actor_id.size(), kMaxActorIdBytes));
  if (std::any_of(actor_id.begin(), actor_id.end(), absl::ascii_iscntrl))
    return absl::InvalidArgumentError("actor_id holds a control character; give the actor a plain --id");
  return CheckLength("session", session.size(), kMaxSessionBytes);
}

absl::Status CheckRequest(const v1::RegisterRequest& request) {
  FLOWAWR_RETURN_IF_ERROR(CheckActor(request.actor_id(), request.session()));
  FLOWAWR_RETURN_IF_ERROR(CheckLength("model_fingerprint", request.model_fingerprint().size(), 1024));
  FLOWAWR_RETURN_IF_ERROR(CheckCount("model_parts", static_cast<int>(request.model_parts().size()), kMaxModelParts));
  for (const auto& [part, value] : request.model_parts()) {
    FLOWAWR_RETURN_IF_ERROR(CheckLength("a name in model_parts", part.size(), kMaxPartNameBytes));
    FLOWAWR_RETURN_IF_ERROR(CheckLength("a value in model_parts", value.size(), kMaxPartBytes));
  }
  FLOWAWR_RETURN_IF_ERROR(CheckLength("instruction_set", request.instruction_set().size(), 64));
  FLOWAWR_RETURN_IF_ERROR(CheckLength("device", request.device().size(), 128));
  FLOWAWR_RETURN_IF_ERROR(CheckPeerEndpoint(request.peer_endpoint()));
  return CheckLength("software_version", request.software_version().size(), 128);
}

absl::Status CheckRequest(const v1::RenewLeasesRequest& request) {
  FLOWAWR_RETURN_IF_ERROR(CheckActor(request.actor_id(), request.session()));
  FLOWAWR_RETURN_IF_ERROR(CheckCount("leases", request.leases_size(), kMaxHeldLeases));
  return CheckStages(request.stage_seconds());
}

absl::Status CheckRequest(const v1::FetchPolicyRequest& request) {
  FLOWAWR_RETURN_IF_ERROR(CheckActor(request.actor_id(), request.session()));
  FLOWAWR_RETURN_IF_ERROR(CheckCount("failed_peers", request.failed_peers_size(), kMaxFailedPeers));
  for (const std::string& endpoint : request.failed_peers())
    FLOWAWR_RETURN_IF_ERROR(CheckLength("an address in failed_peers", endpoint.size(), kMaxEndpointBytes));
  return absl::OkStatus();
}

absl::Status CheckRequest(const v1::GroupHeader& header) {
  FLOWAWR_RETURN_IF_ERROR(CheckActor(header.actor_id(), header.session()));
  FLOWAWR_RETURN_IF_ERROR(CheckLength("policy_sha256", header.policy_sha256().size(), 32));
  for (const v1::SampleScores& sample : header.samples())
    for (const v1::TermScore& score : sample.terms()) FLOWAWR_RETURN_IF_ERROR(CheckScore(score));
  FLOWAWR_RETURN_IF_ERROR(CheckCount("spans", header.spans_size(), kMaxSpans));
  for (const v1::StageSpan& span : header.spans())
    FLOWAWR_RETURN_IF_ERROR(CheckLength("a stage in spans", span.stage().size(), kMaxStageNameBytes));
  return CheckStages(header.stage_seconds());
}

std::string FailureLabel(absl::string_view cause) {
  return std::find(kCauses.begin(), kCauses.end(), cause) == kCauses.end() ? "other" : std::string(cause);
}

std::string FailureText(absl::string_view message) { return TruncateUtf8(message, kMaxFailureBytes); }

}  // namespace flowawr
