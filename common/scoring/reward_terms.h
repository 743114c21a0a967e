// What a term of a reward spec means to everybody who scores, trains or shows. Pure.
//
// A term of weight 0 is a shadow: it is scored beside the others and compared with them, but never trained on, never
// part of a reward that is told, and never required, whatever its `is_required` says; that counts once it has a weight.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "flowawr/v1/config.pb.h"
#include "flowawr/v1/reward.pb.h"

namespace flowawr {

inline bool IsShadow(const v1::RewardSpecTerm& term) { return term.weight() == 0; }
inline bool IsRequired(const v1::RewardSpecTerm& term) { return term.is_required() && !IsShadow(term); }

// The position of the first term that is no shadow; 0 when there is none. What a rule reward tells for people, such as
// what it read and whether that is exact, is taken from it.
int FirstTrainedTerm(const v1::RewardSpec& spec);

// "a:1, b:2" -> {"a:1", "b:2"}; none for an empty text. Not checked: see reward_spec_check.h.
std::vector<std::string> EndpointsOf(absl::string_view endpoint);

// A term of the configuration as one of a spec.
v1::RewardSpecTerm SpecTermOf(const v1::RewardTerm& term);

}  // namespace flowawr
