// How old the newest update and checkpoint are. Whoever made one sets its age to 0 in the status; from then on it grows.
// Not thread-safe.
#pragma once

#include <optional>

#include "absl/time/time.h"
#include "flowawr/v1/control.pb.h"

namespace flowawr {

class StatusAges {
 public:
  // Takes the ages that were set out of `status`.
  void Take(absl::Time now, v1::Status& status) {
    if (status.has_update_age_s()) updated_ = now - absl::Seconds(status.update_age_s());
    if (status.has_checkpoint_age_s()) saved_ = now - absl::Seconds(status.checkpoint_age_s());
    status.clear_update_age_s();
    status.clear_checkpoint_age_s();
  }
  void Show(absl::Time now, v1::Status& status) const {
    if (updated_) status.set_update_age_s(absl::ToDoubleSeconds(now - *updated_));
    if (saved_) status.set_checkpoint_age_s(absl::ToDoubleSeconds(now - *saved_));
  }

 private:
  std::optional<absl::Time> updated_, saved_;
};

}  // namespace flowawr
