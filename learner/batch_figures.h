// What a batch says of the training beside its rewards' mean: for the status, dashboards and alerts. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "flowawr/v1/control.pb.h"
#include "learner/flowawr.h"
#include "learner/group.h"
#include "learner/reward_figures.h"

namespace flowawr {

struct BatchFigures {
  double equal_groups_share = 0;   // groups that teach nothing: their rewards are all equal
  double staleness_mean = 0;       // updates' worth of versions that the groups were behind
  uint32_t staleness_max = 0;
  std::map<std::string, double> energy;  // mean, least, greatest, clipped_share: of samples at +-energy_clip
};

// `versions` are the behaviour versions by update, the newest last: that of a group is behind by the later ones. Versions
// that were published for evaluations do not count.
BatchFigures MeasureBatch(const std::vector<Group>& batch, const BatchEnergies& energies, double energy_clip,
                          const std::vector<uint64_t>& versions);

// In place of the last batch's. A figure that this batch does not have is absent afterwards.
void ShowBatch(const BatchFigures& batch, const RewardFigures& rewards, v1::Status& status);

}  // namespace flowawr
