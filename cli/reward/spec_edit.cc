#include "cli/reward/spec_edit.h"

#include <algorithm>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/nearest_word.h"
#include "common/base/status.h"
#include "common/base/utf8.h"
#include "common/scoring/reward_terms.h"

namespace flowawr {
namespace {

constexpr size_t kShownBytes = 64;

absl::StatusOr<int> Find(const std::string& scorer, const RewardSpecTerms& terms) {
  std::vector<std::string> names;
  for (int i = 0; i < terms.size(); ++i) {
    if (terms[i].scorer() == scorer) return i;
    names.push_back(terms[i].scorer());
  }
  return absl::NotFoundError(absl::StrCat("this run has no reward of a scorer \"", TruncateUtf8(scorer, kShownBytes),
                                          "\"; it has: ", absl::StrJoin(names, ", "), DidYouMean(scorer, names)));
}

}  // namespace

absl::Status SetWeights(const std::vector<v1::RewardSpecTerm>& weights, RewardSpecTerms* terms) {
  for (const v1::RewardSpecTerm& weight : weights) {
    FLOWAWR_ASSIGN_OR_RETURN(const int i, Find(weight.scorer(), *terms));
    (*terms)[i].set_weight(weight.weight());
  }
  return absl::OkStatus();
}

absl::Status AddTerm(const v1::RewardSpecTerm& term, RewardSpecTerms* terms) {
  if (const absl::StatusOr<int> i = Find(term.scorer(), *terms); i.ok())
    return absl::AlreadyExistsError(
        absl::StrCat("this run has a reward of scorer ", term.scorer(), " already, of weight ", (*terms)[*i].weight(),
                     ". Change that one: flowawr reward weight RUN_DIR ", term.scorer(),
                     "=WEIGHT, or flowawr reward swap RUN_DIR ", term.scorer(), " --to HOST:PORT"));
  *terms->Add() = term;
  return absl::OkStatus();
}

absl::Status RemoveTerm(const std::string& scorer, RewardSpecTerms* terms) {
  FLOWAWR_ASSIGN_OR_RETURN(const int i, Find(scorer, *terms));
  terms->DeleteSubrange(i, 1);
  return absl::OkStatus();
}

absl::Status MoveTerm(const std::string& scorer, const std::string& endpoint, RewardSpecTerms* terms) {
  FLOWAWR_ASSIGN_OR_RETURN(const int i, Find(scorer, *terms));
  (*terms)[i].set_endpoint(endpoint);
  return absl::OkStatus();
}

absl::Status Promote(const std::string& scorer, double weight, RewardSpecTerms* terms) {
  FLOWAWR_ASSIGN_OR_RETURN(const int i, Find(scorer, *terms));
  if (!IsShadow((*terms)[i]))
    return absl::FailedPreconditionError(absl::StrCat(scorer, " is no shadow: it is trained on with weight ",
                                                      (*terms)[i].weight(), ". To change that: flowawr reward weight ",
                                                      "RUN_DIR ", scorer, "=WEIGHT"));
  (*terms)[i].set_weight(weight);
  return absl::OkStatus();
}

void FillInEndpoints(const v1::RewardSpec& now, RewardSpecTerms* terms) {
  for (v1::RewardSpecTerm& term : *terms) {
    if (!term.endpoint().empty()) continue;
    for (const v1::RewardSpecTerm& other : now.terms())
      if (other.scorer() == term.scorer()) term.set_endpoint(other.endpoint());
  }
}

}  // namespace flowawr
