// A scorer: one reward model inside a reward server.
//
// To add one: a file pair in scorers/ and its line in scorer_registry.cc.
#pragma once

#include <string>
#include <vector>

#include "absl/types/span.h"
#include "flowawr/v1/reward.pb.h"

namespace flowawr {

// Thread-safe: the threads of a ScorerRunner call Score() side by side. Owned by shared_ptr; a scorer that is unloaded
// lives until its last Score() has returned.
class Scorer {
 public:
  virtual ~Scorer() = default;

  // One result an item, in order; each a finite reward or a typed error. Every item's image has been checked: positive
  // sides, bytes as many as they ask for.
  //
  // The same item gives the same reward whatever was scored before it, with it, or on other threads. An exception or a
  // reward that is not finite makes the runner answer BROKEN.
  virtual std::vector<v1::ScoreResult> Score(absl::Span<const v1::ScoreItem* const> items) = 0;

  // Engine and model, as people and records need it, e.g. "tesseract 5.3.0 eng".
  virtual const std::string& version() const = 0;

  // How many items one Score() call is best given: 1 for what works image by image, more for what batches on a device.
  virtual int recommended_batch() const { return 1; }
};

v1::ScoreResult RewardResult(double reward);
v1::ScoreResult ErrorResult(v1::ScoreError::Kind kind, std::string message);

}  // namespace flowawr
