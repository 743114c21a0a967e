// Figures of the status that grow by themselves: how old the newest update and checkpoint are, and how long the run loop
// is at its stage. Not thread-safe.
#pragma once

#include <optional>
#include <string>

#include "absl/time/time.h"
#include "flowawr/v1/control.pb.h"

namespace flowawr {

class StatusAges {
 public:
  // Takes the ages that were set out of `status`: whoever made an update or a checkpoint sets its age to 0.
  void Take(absl::Time now, v1::Status& status) {
    if (status.has_update_age_s()) updated_ = now - absl::Seconds(status.update_age_s());
    if (status.has_checkpoint_age_s()) saved_ = now - absl::Seconds(status.checkpoint_age_s());
    status.clear_update_age_s();
    status.clear_checkpoint_age_s();
  }
  // learner_seconds of `stage` grow from `since` on; empty: none do.
  void SetStage(const std::string& stage, absl::Time since) {
    stage_ = stage;
    stage_since_ = since;
  }
  void Show(absl::Time now, v1::Status& status) const {
    if (updated_) status.set_update_age_s(absl::ToDoubleSeconds(now - *updated_));
    if (saved_) status.set_checkpoint_age_s(absl::ToDoubleSeconds(now - *saved_));
    if (!stage_.empty()) (*status.mutable_learner_seconds())[stage_] += absl::ToDoubleSeconds(now - stage_since_);
  }

 private:
  std::optional<absl::Time> updated_, saved_;
  std::string stage_;
  absl::Time stage_since_;
};

}  // namespace flowawr
