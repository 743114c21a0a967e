// What the scorers said of a folder's pictures, as tables. Pure; thread-safe.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "flowawr/v1/reward.pb.h"
#include "flowawr/v1/rollout.pb.h"

namespace flowawr {

struct PictureScore {
  std::string name;
  v1::Prompt prompt;
  int height = 0, width = 0;
  absl::Status status;      // not OK: it was not asked for: no picture, no prompt
  v1::SampleScores scores;  // one a term of the spec, when OK
};

// The weighted sum of what its terms say; none when one that has a weight gave no reward.
std::optional<double> CombinedReward(const v1::RewardSpec& spec, const PictureScore& picture);

// The best first; those without a reward last; of equal ones by name.
void SortByReward(const v1::RewardSpec& spec, std::vector<PictureScore>& pictures);

// What keeps a picture from having a reward, for people; "" for one that has one.
std::string WhyNoReward(const v1::RewardSpec& spec, const PictureScore& picture);

// Of one term (or, with `term` -1, of the combined reward) over all pictures that have it.
struct RewardSummary {
  size_t pictures = 0;
  double mean = 0, standard_deviation = 0, least = 0, most = 0;
  size_t judged_exact = 0, exact = 0;  // of rule rewards
};
RewardSummary Summarise(const v1::RewardSpec& spec, const std::vector<PictureScore>& pictures, int term);

// One line a term, and one of them together when there are several.
std::string SummaryText(const v1::RewardSpec& spec, const std::vector<std::string>& versions,
                        const std::vector<PictureScore>& pictures);

// A line a picture, `width` columns wide; of more than `most` pictures the first and the last ones.
std::string TableText(const v1::RewardSpec& spec, const std::vector<PictureScore>& sorted, size_t most, int width);

// One JSON object a picture, and a table of file, prompt, reward, each scorer's reward, and what went wrong.
std::string ScoresJsonLines(const v1::RewardSpec& spec, const std::vector<PictureScore>& sorted);
std::string ScoresCsv(const v1::RewardSpec& spec, const std::vector<PictureScore>& sorted);

}  // namespace flowawr
