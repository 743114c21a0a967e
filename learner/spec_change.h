// Which groups take a new reward spec when rewards are swapped while a run goes on. Pure.
//
// No batch mixes two specs, and batches are whole. What is scored already is kept, with as many others as fill its
// batch; whatever else was not scored yet moves to the new spec. When the run is stuck, because a group cannot be made
// under its old spec, everything moves: the others of its batch are scored anew.
#pragma once

#include <cstdint>
#include <vector>

namespace flowawr {

// A training group that no update has consumed.
struct OutstandingGroup {
  enum class State { kScored, kGranted, kWaiting };
  uint64_t group_id = 0;
  uint64_t spec_version = 0;
  State state = State::kWaiting;
};

// The ids to move, ascending.
std::vector<uint64_t> GroupsToMove(std::vector<OutstandingGroup> groups, int groups_per_batch, uint64_t newest_version,
                                   bool is_stuck);

}  // namespace flowawr
