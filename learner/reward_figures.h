// What the rewards of some groups say: means, shares, and what is missing. Pure.
//
// Shadows have their means and what is missing of them, but are no part of the weighted reward. A reward that an optional
// scorer could not give is left out of what it takes part in. A figure that nobody measured is absent, never 0.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "learner/group.h"

namespace flowawr {

struct RewardFigures {
  uint64_t images = 0;
  std::optional<double> mean;            // of the weighted reward, over the images that have all of it
  std::optional<double> standard_error;  // of that mean; of two images and more
  std::optional<double> exact_share;     // exact by the word of the first scorer that is no shadow
  std::map<std::string, double> by_scorer;
  struct Missing {
    uint64_t images = 0;
    std::string why;  // what the scorer said last
    bool is_shadow = false;
  };
  std::map<std::string, Missing> missing;  // by scorer, of those that some image has no reward of
};

RewardFigures MeasureRewards(const std::vector<Group>& groups);

// By scorer, shadows included, the mean of each group's images; NaN: none of them has that reward.
using RewardsByPrompt = std::map<std::string, std::vector<double>>;
// Of an evaluation, whose groups are those of its prompts, in their order.
RewardsByPrompt MeasureByPrompt(const std::vector<Group>& groups);

// The weighted reward of one sample; NaN when a term of it is missing.
double WeightedReward(const Group& group, int64_t sample);

// For people, one sentence a scorer; `where` is e.g. "update 12".
std::vector<std::string> MissingRewardWarnings(const RewardFigures& figures, const std::string& where);

}  // namespace flowawr
