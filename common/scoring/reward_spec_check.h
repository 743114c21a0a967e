// Whether the terms of a reward spec are valid: the one answer for a configuration, a command and a call. Pure.
//
// Whether the scorers are there and give rewards is another question: see scorer_probe.h.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "flowawr/v1/config.pb.h"
#include "flowawr/v1/reward.pb.h"
#include "google/protobuf/repeated_field.h"

namespace flowawr {

inline constexpr int kMaxRewardTerms = 64;
inline constexpr size_t kMaxEndpointsOfATerm = 16;
inline constexpr size_t kMaxScorerBytes = 128, kMaxEndpointBytes = 1024;

// What a weight, a time-out and a max_drop may be, as the configuration's schema says.
struct RewardTermBounds {
  double least_weight, most_weight;
  double least_timeout_s, most_timeout_s;
  double most_drop;  // the least is 0
};
const RewardTermBounds& BoundsOfRewardTerms();

struct RewardSpecFault {
  int term = -1;        // its position; -1: of all terms together
  std::string field;    // of the term, as the message calls it; empty: of the term as a whole
  std::string problem;  // what is wrong and what to do
};

// Of one term by itself.
std::vector<RewardSpecFault> FindRewardTermFaults(const v1::RewardSpecTerm& term);

// Of every term and of what they are together under that way to combine them. Empty: all is well.
std::vector<RewardSpecFault> FindRewardSpecFaults(const google::protobuf::RepeatedPtrField<v1::RewardSpecTerm>& terms,
                                                  v1::Combination combination);

// InvalidArgument with all of them, each with the scorer that it is about, one a line.
absl::Status CheckRewardSpec(const google::protobuf::RepeatedPtrField<v1::RewardSpecTerm>& terms,
                             v1::Combination combination);

}  // namespace flowawr
