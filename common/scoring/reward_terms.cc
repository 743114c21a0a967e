#include "common/scoring/reward_terms.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_split.h"

namespace flowawr {

int FirstTrainedTerm(const v1::RewardSpec& spec) {
  for (int term = 0; term < spec.terms_size(); ++term)
    if (!IsShadow(spec.terms(term))) return term;
  return 0;
}

std::vector<std::string> EndpointsOf(absl::string_view endpoint) {
  if (endpoint.empty()) return {};
  std::vector<std::string> endpoints;
  for (const absl::string_view part : absl::StrSplit(endpoint, ','))
    endpoints.emplace_back(absl::StripAsciiWhitespace(part));
  return endpoints;
}

v1::RewardSpecTerm SpecTermOf(const v1::RewardTerm& term) {
  v1::RewardSpecTerm out;
  out.set_scorer(term.scorer());
  out.set_endpoint(term.endpoint());
  out.set_weight(term.weight());
  out.set_is_required(term.is_required());
  out.set_timeout_s(term.timeout_s());
  out.set_max_drop(term.max_drop());
  return out;
}

}  // namespace flowawr
