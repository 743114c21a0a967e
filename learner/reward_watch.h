// Watches held-out rewards for a fall while the run trains on others: reward hacking is seen, not discovered later.
//
// Evaluations are of different length, and an optional reward may be missing of some images. So a scorer's rewards are
// compared over those prompts alone of which both evaluations have one, out of the first kMostPrompts. These are drawn
// from the same noise each time, so a prompt's hardness cancels out of the difference: its standard error is of the
// differences prompt by prompt.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "flowawr/v1/config.pb.h"
#include "flowawr/v1/reward.pb.h"
#include "learner/reward_figures.h"

namespace flowawr {

struct RewardFall {
  std::string scorer;
  double from = 0, to = 0;  // held-out means over the same prompts: where it is measured from, and now
  double max_drop = 0;
  int prompts = 0;                       // that both means are over
  std::optional<double> standard_error;  // of to - from, for other prompts like these; of two prompts and more
};

// Judges evaluation after evaluation. Not thread-safe.
class RewardWatch {
 public:
  static constexpr size_t kMostPrompts = 4096;

  // `measured_by`: what the rewards depend on beside the policy, e.g. which prompts are drawn by how many steps.
  explicit RewardWatch(std::string measured_by = "") : measured_by_(std::move(measured_by)) {}

  // A new evaluation. A scorer of `spec` that has nothing to be measured from is measured from here.
  void Add(const v1::RewardSpec& spec, RewardsByPrompt rewards);
  // The rewards were swapped: a scorer without a term, should it come back, is measured from there.
  void Keep(const v1::RewardSpec& spec);

  // What lies further below where it is measured from than the max_drop of its term, of any weight, in the newest
  // evaluation. By the order of the terms.
  std::vector<RewardFall> Judge(const v1::RewardSpec& spec) const;
  // Somebody has seen these and goes on: from now on they are measured from the newest evaluation.
  void Accept(const std::vector<RewardFall>& falls);

  // For a checkpoint. Restore() returns whether anything was found; it begins with nothing where `json` is not what
  // ToJson() gave, or what the rewards depend on is not the same any more.
  std::string ToJson() const;
  bool Restore(const std::string& json);

 private:
  std::string measured_by_;
  RewardsByPrompt base_;    // where each scorer is measured from
  RewardsByPrompt newest_;  // empty: no evaluation yet
};

// For a run that is resumed: a max_drop of the configuration counts as long as the rewards were never swapped, and
// where it is not what the run had `before`; otherwise that of the swap.
void TakeMaxDrops(const v1::RewardsConfig& before, const v1::RewardsConfig& now, v1::RewardSpec* spec);

// For people: one sentence a fall.
std::vector<std::string> FallWarnings(const std::vector<RewardFall>& falls, uint64_t update);

}  // namespace flowawr
