// Whether a run may go on under a configuration.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "flowawr/v1/config.pb.h"

namespace flowawr {

// FailedPrecondition that lists every field that differs and would change the run, with ways to go on: what has been
// trained so far would no longer be what the configuration says. FieldsFreeOnResume() (resume_fields.h) may differ;
// fields that `saved`, of an older version, does not know count as their defaults.
absl::Status CheckResumable(const v1::RunConfig& saved, const v1::RunConfig& now);

// InvalidArgument when train.updates is fewer than the `done` ones: a run does not go back, and what it would call
// finished is not what the configuration asks for.
absl::Status CheckUpdatesAhead(uint64_t done, const v1::RunConfig& now);

// A warning when a run goes on with other vector instructions than its checkpoint was made with ("" in checkpoints of
// older versions: unknown); "" when there is nothing to say. The run is as good, but no longer the same bits.
std::string WarningOfOtherInstructions(absl::string_view saved, absl::string_view now);

}  // namespace flowawr
