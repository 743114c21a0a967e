// Where a learner computes: train.devices, and whose they are where several of its ranks are on one machine.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace flowawr {

// As NameOf() has them, for the `local_world` ranks of a machine; `auto` alone is its first accelerators, one for each
// rank as far as they go, else cpu. InvalidArgument for one that this machine does not have, one that is named twice, and
// the CPU beside accelerators, which would all wait for it.
absl::StatusOr<std::vector<std::string>> LearnerDevices(const std::vector<std::string>& names, int local_world);

// Those of rank `local_rank` of the `local_world` of a machine: its share, in order; where there are fewer devices than
// ranks, one that others have, too. At least one of `devices`. Pure.
std::vector<std::string> DevicesOfRank(const std::vector<std::string>& devices, int local_rank, int local_world);

// What to warn of where the `local_world` ranks of a machine are more than its accelerators; empty: each has one of its
// own, or they compute on the CPU. Pure.
std::string WarningOfSharedDevices(const std::vector<std::string>& devices, int local_world);

}  // namespace flowawr
