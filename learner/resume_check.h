// Whether a run may go on under a configuration.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "flowawr/v1/config.pb.h"

namespace flowawr {

// FailedPrecondition that lists every field that differs and would change the run, with ways to go on: what has been
// trained so far would no longer be what the configuration says. FieldsFreeOnResume() (resume_fields.h) may differ;
// fields that `saved`, of an older version, does not know count as their defaults.
absl::Status CheckResumable(const v1::RunConfig& saved, const v1::RunConfig& now);

// InvalidArgument when train.updates is fewer than the `done` ones: a run does not go back, and what it would call
// finished is not what the configuration asks for.
absl::Status CheckUpdatesAhead(uint64_t done, const v1::RunConfig& now);

// What last bits follow from beside what CheckResumable() compares. Empty: unknown, in checkpoints of older versions.
struct BitSources {
  std::string instruction_set = "";
  std::string device = "";                           // the learner's, as DeviceMix::KindOf() has it
  std::optional<bool> deterministic = std::nullopt;  // model.deterministic
};

// A warning, naming each (saved -> now), when a run goes on with other instructions, devices or kernels than its
// checkpoint was made with; "" when there is nothing to say. The run is as good, but no longer the same bits.
std::string WarningOfOtherBits(const BitSources& saved, const BitSources& now);

}  // namespace flowawr
