// A scorer to load, as people write it on a command line.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "flowawr/v1/reward.pb.h"

namespace flowawr {

// NAME[=KIND][,option=value...]; without KIND the name is the kind. A comma or backslash that belongs to a value has a
// backslash before it. InvalidArgument says what is accepted.
absl::StatusOr<v1::LoadScorerRequest> ParseScorer(absl::string_view text);

// The text of which ParseScorer() makes `scorer`; options by name.
std::string FormatScorer(const v1::LoadScorerRequest& scorer);

}  // namespace flowawr
