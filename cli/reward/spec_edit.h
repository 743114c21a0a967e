// What the commands change of a run's rewards. Pure; whether the result is valid is the learner's to say.
//
// NotFound, with the scorers that there are and the one that was probably meant, for a scorer that no term has.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "flowawr/v1/reward.pb.h"
#include "google/protobuf/repeated_field.h"

namespace flowawr {

using RewardSpecTerms = google::protobuf::RepeatedPtrField<v1::RewardSpecTerm>;

// Each of `weights` has a scorer and a weight.
absl::Status SetWeights(const std::vector<v1::RewardSpecTerm>& weights, RewardSpecTerms* terms);
// AlreadyExists when a term has that scorer.
absl::Status AddTerm(const v1::RewardSpecTerm& term, RewardSpecTerms* terms);
absl::Status RemoveTerm(const std::string& scorer, RewardSpecTerms* terms);
// An empty `endpoint` is the run's own reward server.
absl::Status MoveTerm(const std::string& scorer, const std::string& endpoint, RewardSpecTerms* terms);
// FailedPrecondition for a term that is no shadow.
absl::Status Promote(const std::string& scorer, double weight, RewardSpecTerms* terms);

// Terms without an endpoint take the one that the same scorer has in the spec of `now`, if it has.
void FillInEndpoints(const v1::RewardSpec& now, RewardSpecTerms* terms);

}  // namespace flowawr
