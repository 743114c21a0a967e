#include "common/scoring/reward_spec_check.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/host_port.h"
#include "common/base/utf8.h"
#include "common/scoring/reward_terms.h"

namespace flowawr {
namespace {

using Faults = std::vector<RewardSpecFault>;

constexpr size_t kShownBytes = 64;  // of a scorer's name in an error

const v1::FieldRule& RuleOfTerm(const char* field) {
  return v1::RewardTerm::descriptor()->FindFieldByName(field)->options().GetExtension(v1::rule);
}

void CheckLength(const char* field, size_t bytes, size_t most, Faults& found) {
  if (bytes > most) found.push_back({-1, field, absl::StrCat("has ", bytes, " bytes, at most ", most, " are taken")});
}

// Written so that NaN fails.
void CheckRange(const char* field, double value, double least, double most, Faults& found) {
  if (!(value >= least && value <= most))
    found.push_back({-1, field, absl::StrCat(value, " is out of bounds: a number from ", least, " to ", most)});
}

void CheckEndpoints(const std::string& text, Faults& found) {
  CheckLength("endpoint", text.size(), kMaxEndpointBytes, found);
  if (text.size() > kMaxEndpointBytes) return;
  const std::vector<std::string> endpoints = EndpointsOf(text);
  if (endpoints.size() > kMaxEndpointsOfATerm)
    found.push_back({-1, "endpoint",
                     absl::StrCat("names ", endpoints.size(), " servers, at most ", kMaxEndpointsOfATerm, " are taken")});
  std::set<std::string> seen;
  for (const std::string& endpoint : endpoints) {
    const absl::StatusOr<HostPort> address = ParseHostPort(endpoint);
    if (!address.ok()) {
      found.push_back({-1, "endpoint", std::string(address.status().message())});
    } else if (address->port == 0) {
      found.push_back({-1, "endpoint", absl::StrCat(endpoint, " has port 0, where nobody can be reached")});
    } else if (!seen.insert(endpoint).second) {
      found.push_back({-1, "endpoint", absl::StrCat(endpoint, " is named twice; keep one")});
    }
  }
}

}  // namespace

const RewardTermBounds& BoundsOfRewardTerms() {
  static const RewardTermBounds bounds = {RuleOfTerm("weight").min(), RuleOfTerm("weight").max(),
                                          RuleOfTerm("timeout_s").min(), RuleOfTerm("timeout_s").max(),
                                          RuleOfTerm("max_drop").max()};
  return bounds;
}

Faults FindRewardTermFaults(const v1::RewardSpecTerm& term) {
  Faults found;
  if (term.scorer().empty())
    found.push_back({-1, "scorer", "names no scorer; give the name of one that its reward server has loaded"});
  CheckLength("scorer", term.scorer().size(), kMaxScorerBytes, found);
  const RewardTermBounds& bounds = BoundsOfRewardTerms();
  CheckRange("weight", term.weight(), bounds.least_weight, bounds.most_weight, found);
  CheckRange("timeout_s", term.timeout_s(), bounds.least_timeout_s, bounds.most_timeout_s, found);
  CheckRange("max_drop", term.max_drop(), 0, bounds.most_drop, found);
  CheckEndpoints(term.endpoint(), found);
  return found;
}

Faults FindRewardSpecFaults(const google::protobuf::RepeatedPtrField<v1::RewardSpecTerm>& terms,
                            v1::Combination combination) {
  if (terms.empty()) return {{-1, "", "there is no term: at least one must be rewarded"}};
  if (terms.size() > kMaxRewardTerms)
    return {{-1, "", absl::StrCat("there are ", terms.size(), " terms, at most ", kMaxRewardTerms, " are taken")}};
  Faults found;
  std::map<std::string, int> seen;
  for (int i = 0; i < terms.size(); ++i) {
    for (RewardSpecFault& fault : FindRewardTermFaults(terms[i])) {
      fault.term = i;
      found.push_back(std::move(fault));
    }
    const auto [first, is_new] = seen.try_emplace(terms[i].scorer(), i);
    if (!is_new)
      found.push_back({i, "",
                       absl::StrCat("scorer ", TruncateUtf8(terms[i].scorer(), kShownBytes), " is term ", first->second,
                                    " already; add the weights up in one term, name several servers in its endpoint, or "
                                    "load the other scorer under a name of its own")});
    if (combination == v1::DECOUPLED && terms[i].weight() < 0)
      found.push_back({i, "weight",
                       "must not be negative with rewards.combination: decoupled, which takes a weighted mean of "
                       "energies; use combination: average"});
  }
  if (std::all_of(terms.begin(), terms.end(), IsShadow))
    found.push_back({-1, "", "every weight is 0: nothing is rewarded; give one term a weight"});
  return found;
}

absl::Status CheckRewardSpec(const google::protobuf::RepeatedPtrField<v1::RewardSpecTerm>& terms,
                             v1::Combination combination) {
  const Faults faults = FindRewardSpecFaults(terms, combination);
  if (faults.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrJoin(faults, "\n", [&terms](std::string* out, const RewardSpecFault& fault) {
    if (fault.term < 0) return absl::StrAppend(out, "the rewards: ", fault.problem);
    absl::StrAppend(out, "reward term ", fault.term);
    if (const std::string& scorer = terms[fault.term].scorer(); !scorer.empty())
      absl::StrAppend(out, " (", TruncateUtf8(scorer, kShownBytes), ")");
    absl::StrAppend(out, ": ", fault.field, fault.field.empty() ? "" : ": ", fault.problem);
  }));
}

}  // namespace flowawr
