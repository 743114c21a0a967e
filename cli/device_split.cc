#include "cli/device_split.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace flowawr {
namespace {

std::vector<int> Numbers(int begin, int end) {
  std::vector<int> numbers(end - begin);
  std::iota(numbers.begin(), numbers.end(), begin);
  return numbers;
}

// How many of at least two devices actors get.
int ActorsShare(const DeviceNeeds& needs, int devices) {
  int best = 1;
  double shortest = std::numeric_limits<double>::infinity();
  for (int actors = 1; actors < devices; ++actors) {
    const double sampling = needs.sampling / actors, training = needs.training / (devices - actors);
    const double update = needs.take_turns ? sampling + training : std::max(sampling, training);
    if (update >= shortest) continue;
    shortest = update;
    best = actors;
  }
  return best;
}

}  // namespace

DeviceSplit SplitDevices(const DeviceNeeds& needs, int devices, int64_t memory) {
  const bool share = needs.actor + needs.learner + needs.scorers <= memory;
  if (devices == 1 || (share && needs.take_turns))
    return {.actors = Numbers(0, devices), .learner = Numbers(0, devices), .scorers = devices - 1, .fits = share};
  const int actors = ActorsShare(needs, devices);
  const bool last_has_room = needs.learner + needs.scorers <= memory, first_has_room = needs.actor + needs.scorers <= memory;
  return {.actors = Numbers(0, actors),
          .learner = Numbers(actors, devices),
          .scorers = last_has_room || !first_has_room ? devices - 1 : 0,
          .fits = std::max(needs.actor, needs.learner) <= memory && (last_has_room || first_has_room)};
}

}  // namespace flowawr
