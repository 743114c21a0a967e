// A scorer to load, as people write it on a command line.
#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "flowawr/v1/reward.pb.h"

namespace flowawr {

// NAME[=KIND][,option=value...]; without KIND the name is the kind. InvalidArgument says what is accepted.
absl::StatusOr<v1::LoadScorerRequest> ParseScorer(absl::string_view text);

}  // namespace flowawr
