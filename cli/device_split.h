// A proposal how the accelerators of one machine are shared among a run's actors, its learner and its scorers. Pure.
//
// Actors and learner that take turns (rollout.max_staleness: 0) each get all devices where one device holds both at once.
// Otherwise each device belongs to one side, as many to either as make an update shortest: in turns, sampling and
// training add up; with actors that sample ahead, the longer of the two counts. Scorers share the last device, or the
// first where the last has no room for them.
#pragma once

#include <cstdint>
#include <vector>

namespace flowawr {

struct DeviceNeeds {
  int64_t actor = 0, learner = 0, scorers = 0;  // bytes of one device: of one actor, of the learner on each of its devices
  double sampling = 0, training = 0;            // work of one update, both in one unit
  bool take_turns = false;
};

struct DeviceSplit {
  std::vector<int> actors, learner;  // device numbers, from 0
  int scorers = 0;                   // theirs
  bool fits = false;                 // no device needs more than it has

  bool operator==(const DeviceSplit&) const = default;
};

// Of `devices`, at least 1, with `memory` bytes each.
DeviceSplit SplitDevices(const DeviceNeeds& needs, int devices, int64_t memory);

}  // namespace flowawr
