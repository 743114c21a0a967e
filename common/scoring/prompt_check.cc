#include "common/scoring/prompt_check.h"

#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/status.h"
#include "common/base/utf8.h"
#include "common/rpc/channel.h"
#include "common/rpc/retry.h"
#include "common/rpc/status.h"
#include "common/scoring/reward_terms.h"
#include "common/scoring/score_bounds.h"
#include "flowawr/v1/reward.grpc.pb.h"

namespace flowawr {
namespace {

constexpr size_t kMostPrompts = 1000;  // of a request
constexpr size_t kMostBytes = 1 << 20;
constexpr absl::Duration kAnswerTime = absl::Seconds(30);
constexpr RetryPolicy kRetry = {.max_attempts = 5, .initial = absl::Milliseconds(100), .max = absl::Seconds(1)};

absl::StatusOr<v1::CheckPromptsResponse> Ask(v1::RewardService::Stub& stub, const v1::NetworkConfig& network,
                                             const v1::CheckPromptsRequest& request) {
  Backoff backoff(kRetry);
  while (true) {
    v1::CheckPromptsResponse response;
    const absl::Status status =
        FromGrpc(stub.CheckPrompts(MakeContext(kAnswerTime, network).get(), request, &response));
    if (status.ok()) return response;
    const auto pause = backoff.Next();
    if (!IsTransient(status) || !pause.has_value()) return status;
    absl::SleepFor(*pause);
  }
}

// Faults by position, by the word of one server.
absl::StatusOr<std::map<size_t, std::string>> CheckAt(const std::string& endpoint, const v1::RewardSpecTerm& term,
                                                      const v1::NetworkConfig& network, const PromptSet& prompts) {
  FLOWAWR_ASSIGN_OR_RETURN(const auto channel, MakeChannel(endpoint, network));
  const auto stub = v1::RewardService::NewStub(channel);
  std::map<size_t, std::string> faults;
  for (size_t begin = 0; begin < prompts.size();) {
    v1::CheckPromptsRequest request;
    request.set_scorer(term.scorer());
    size_t end = begin, bytes = 0;
    for (; end < prompts.size() && end - begin < kMostPrompts && bytes < kMostBytes; ++end) {
      v1::Prompt prompt = prompts.At(end);
      bytes += prompt.ByteSizeLong();
      v1::PromptToCheck& asked = *request.add_prompts();
      asked.set_text(std::move(*prompt.mutable_text()));
      *asked.mutable_metadata() = std::move(*prompt.mutable_metadata());
    }
    FLOWAWR_ASSIGN_OR_RETURN(const v1::CheckPromptsResponse response, Ask(*stub, network, request));
    for (const v1::PromptFault& fault : response.faults())
      if (fault.index() < end - begin)
        faults[begin + fault.index()] =
            absl::StrCat(term.scorer(), ": ", TruncateUtf8(fault.message(), kMaxErrorBytes));
    begin = end;
  }
  return faults;
}

// By the word of the first server that gives it.
absl::StatusOr<std::map<size_t, std::string>> CheckTerm(const v1::RewardSpecTerm& term,
                                                        const v1::NetworkConfig& network, const PromptSet& prompts) {
  absl::StatusOr<std::map<size_t, std::string>> faults = absl::InvalidArgumentError("it names no server");
  for (const std::string& endpoint : EndpointsOf(term.endpoint()))
    if (faults = CheckAt(endpoint, term, network, prompts); faults.ok()) break;
  return faults;
}

}  // namespace

PromptCheck CheckPrompts(const v1::RewardSpec& spec, const v1::NetworkConfig& network, const PromptSet& prompts) {
  PromptCheck check;
  if (prompts.empty()) return check;
  for (const v1::RewardSpecTerm& term : spec.terms()) {
    absl::StatusOr<std::map<size_t, std::string>> faults = CheckTerm(term, network, prompts);
    if (absl::IsUnimplemented(faults.status())) {
      check.notes.push_back(absl::StrCat("the reward server ", term.endpoint(),
                                         " does not say which prompts ", term.scorer(), " can score"));
    } else if (!faults.ok()) {
      check.notes.push_back(absl::StrCat("the prompts could not be checked against ", term.scorer(), " at ",
                                         term.endpoint(), ": ", faults.status().message()));
    } else if (IsRequired(term)) {
      check.faults.merge(*faults);
    } else if (!faults->empty()) {
      check.notes.push_back(absl::StrCat(faults->size(), " of ", prompts.size(), " prompts have no reward by ",
                                         term.scorer(), ", which is not required, e.g. ",
                                         prompts.Where(faults->begin()->first), ": ", faults->begin()->second));
    }
  }
  return check;
}

}  // namespace flowawr
