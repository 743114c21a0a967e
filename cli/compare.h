// Several runs side by side: their curves, what each needed to get somewhere, and which settings differ. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cli/run_history.h"
#include "flowawr/v1/config.pb.h"

namespace flowawr {

struct ComparedRun {
  std::string name;  // of all runs another one
  RunHistory history;
  std::optional<v1::RunConfig> config;  // nullopt: it could not be read
};

// The first evaluation whose held-out reward is at least `reward`.
struct Reached {
  uint64_t update = 0;
  std::optional<uint64_t> images;   // trained on until then
  std::optional<double> seconds;    // of training, evaluations included
};
std::optional<Reached> FirstReached(const RunHistory& history, double reward);

// Rewards to ask FirstReached() for when nobody named any: half and nine tenths of the way from the lowest base to the
// best held-out reward of all runs. Empty when nothing was gained.
std::vector<double> DefaultThresholds(const std::vector<ComparedRun>& runs);

// What the run is trained on: "ocr weight 1, jpeg weight -0.1", with the swaps; empty: not known.
std::string RewardsOf(const ComparedRun& run);
// Whether all runs are known to be trained on the same: else their rewards are different quantities.
bool HaveSameRewards(const std::vector<ComparedRun>& runs);

// Fields of the configurations that are not the same in all runs, by path, with a value for each run ("" where it is not
// known). Names and places of the runs are left out.
struct DifferingSetting {
  std::string field;
  std::vector<std::string> values;
};
std::vector<DifferingSetting> DifferingSettings(const std::vector<ComparedRun>& runs);

// Names for runs in these folders: the last part, and as much before it as tells them apart.
std::vector<std::string> DistinctNames(const std::vector<std::string>& folders);

// For a terminal.
std::string CompareAsText(const std::vector<ComparedRun>& runs, const std::vector<double>& thresholds);
// One page without outside parts, in the style of the report. At most eight runs.
std::string CompareAsHtml(const std::vector<ComparedRun>& runs, const std::vector<double>& thresholds);

}  // namespace flowawr
