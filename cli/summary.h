// summary.json: the figures of a run for programs.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "cli/run_history.h"

namespace flowawr {

// Figures that are not known, such as the final ones of a run that goes on, or rewards that were missing, are null.
// `heldout.latest` is the last evaluation after an update; it is `heldout.final`, too, when it was made at the run's
// end. Evaluations of different `reward_spec` measure different things. `end_reason` says why a run ended before its last
// update, null where it did not. Digests are those of the exported adapter files in `run_dir`, null where there is none.
nlohmann::ordered_json Summarise(const RunHistory& history, const std::string& run_dir);

}  // namespace flowawr
