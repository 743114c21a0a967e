// What a batch says of the training beside its rewards' mean: for the status, dashboards and alerts. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "flowawr/v1/control.pb.h"
#include "learner/algorithm/algorithm.h"
#include "learner/group.h"
#include "learner/reward_figures.h"

namespace flowawr {

// Of signals as parts of their clip, from -1 to 1: that many bins, all as wide.
inline constexpr int kSignalBins = 20;

struct BatchFigures {
  double equal_groups_share = 0;  // groups that prefer no sample: their rewards are all equal
  double staleness_mean = 0;      // updates' worth of versions that the groups were behind
  uint32_t staleness_max = 0;
  uint64_t oldest_version = 0;    // of the groups' policies
  // mean, least, greatest; where the method clips them, clipped_share: of samples at the clip.
  std::map<std::string, double> signal;
  // Share of samples by bin, the least first; empty where the method does not clip: then no bin is wide enough.
  std::vector<double> signal_histogram;
  // To how many samples of equal weight those of a group come whose signals are energies, weights or advantages:
  // (sum |s|)^2 / sum s^2, over the groups that prefer any; 0 without such.
  double effective_samples = 0;
  // Root of the mean square distance, by dimension, of a sample's x0 to its group's mean; the mean over groups. It falls
  // as the policy draws one picture for one prompt.
  double diversity = 0;
};

// `versions` are the behaviour versions by update, the newest last: that of a group is behind by the later ones. Versions
// that were published for evaluations do not count.
BatchFigures MeasureBatch(const std::vector<Group>& batch, const BatchSignals& signals,
                          const std::vector<uint64_t>& versions);

// In place of the last batch's. A figure that this batch does not have is absent afterwards.
void ShowBatch(const BatchFigures& batch, const RewardFigures& rewards, v1::Status& status);

}  // namespace flowawr
