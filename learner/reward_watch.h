// Watches held-out rewards for a fall while the run trains on others: reward hacking is seen, not discovered later.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "flowawr/v1/config.pb.h"
#include "flowawr/v1/control.pb.h"

namespace flowawr {

struct RewardFall {
  std::string scorer;
  double from = 0, to = 0;  // held-out means: where it is measured from, and now
  double max_drop = 0;
};

// Judges evaluation after evaluation. Not thread-safe.
class RewardWatch {
 public:
  // `terms`: those with a max_drop are watched, also at weight 0.
  explicit RewardWatch(const v1::RewardsConfig& rewards);

  // The rewards of `now` that lie further below `base` than their max_drop. A scorer that either has no mean of is not
  // judged.
  std::vector<RewardFall> Judge(const v1::EvaluationSummary& base, const v1::EvaluationSummary& now) const;

  // Somebody has seen these and goes on: from now on they are measured from where they are.
  void Accept(const std::vector<RewardFall>& falls);

 private:
  std::map<std::string, double> max_drop_;  // by scorer
  std::map<std::string, double> accepted_;  // means, by scorer
};

// For people: one sentence a fall.
std::vector<std::string> FallWarnings(const std::vector<RewardFall>& falls, uint64_t update);

}  // namespace flowawr
