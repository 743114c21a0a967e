// Reward terms and weights as people type them. Pure.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "flowawr/v1/reward.pb.h"

namespace flowawr {

// "SCORER[,weight=W][,endpoint=HOST:PORT]...[,required=false][,timeout=S][,max_drop=D]"; several endpoints are several
// servers of the same scorer. InvalidArgument says what is wrong, what is accepted and which word was probably meant.
absl::StatusOr<v1::RewardSpecTerm> ParseTerm(const std::string& text);

// "SCORER=WEIGHT": a term with these two fields alone.
absl::StatusOr<v1::RewardSpecTerm> ParseWeight(const std::string& text);

}  // namespace flowawr
