// What a change of a run's rewards came to, for people. Pure.
#pragma once

#include <cstdint>
#include <string>

#include "flowawr/v1/reward.pb.h"

namespace flowawr {

// Which version, from which update on, and a table of all terms, of what they were and what they are; ends with a
// newline. `updates_total` 0: not known.
std::string DescribeChange(const v1::RewardSpec& before, const v1::RewardSpec& after, uint64_t updates_total);

}  // namespace flowawr
