// Kind `jpeg_compressibility`: how little an image weighs as a JPEG. Cheap and exact: a second reward for weighting.
//
// reward = -kilobytes / scale, with kilobytes = bytes / 1000 of a baseline 4:2:0 JPEG. The defaults, quality 95 and
// scale 500, are those of Flow-GRPO (flow_grpo/rewards.py), made for 512 x 512: there the reward lies between about -.5
// and 0. Small pictures need a smaller scale: 32 x 64 pixels weigh about 1 to 3 kB, so scale=5.
//
// Options: quality=95 (1 to 100), scale=500 (1 to 1000000), sign=-1 (1: the heavier the better).
// Details of a result: `bytes`.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "reward_server/scorer.h"
#include "reward_server/scorer_options.h"

namespace flowawr {

class JpegScorer : public Scorer {
 public:
  static absl::StatusOr<std::shared_ptr<Scorer>> Load(ScorerOptions& options, const ScorerContext& context);

  std::vector<v1::ScoreResult> Score(absl::Span<const v1::ScoreItem* const> items, StillWanted still_wanted) override;
  const std::string& version() const override { return version_; }
  int parallel_calls() const override { return threads_; }

 private:
  JpegScorer(int quality, int scale, int sign, int threads);

  const int quality_;
  const int scale_;
  const int sign_;
  const int threads_;
  const std::string version_;
};

}  // namespace flowawr
