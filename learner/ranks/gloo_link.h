// A link over one of c10d's process groups of two, Gloo's.
//
// A message is four numbers, its text, what its tensors are, and then each tensor's memory as it lies: nothing is
// copied that is on the host already.
#pragma once

#include <memory>

#include <torch/csrc/distributed/c10d/Backend.hpp>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "learner/ranks/device_line.h"
#include "learner/ranks/rank_link.h"

namespace flowawr {

// Whether an error is the device line's between two devices that are well: another link may do without one.
bool IsDeviceLineError(const absl::Status& status);

// Its own device's errors are those of OnDevice().
class GlooLink final : public RankLink {
 public:
  // `peer` is the other's number in the group. `line` may be null: vectors then go by way of the host. Both ends have
  // one, or none.
  GlooLink(c10::intrusive_ptr<c10d::Backend> group, int peer, std::unique_ptr<DeviceLine> line);

  absl::Status Send(const RankMessage& message, absl::Duration limit) override;
  absl::StatusOr<RankMessage> Receive(absl::Duration limit, MessageBound bound) override;
  void Break() override;
  TransferSeconds spent() const override;

 private:
  absl::Status SendAll(const RankMessage& message, absl::Duration limit);
  absl::StatusOr<RankMessage> ReceiveAfter(const at::Tensor& head, absl::Duration limit, MessageBound bound);
  absl::Status Move(at::Tensor tensor, bool is_send, absl::Duration limit);
  absl::Status MoveByDevice(const at::Tensor& tensor, bool is_send, absl::Duration limit);

  const c10::intrusive_ptr<c10d::Backend> group_;
  const int peer_;
  const std::unique_ptr<DeviceLine> line_;
  mutable absl::Mutex mutex_;
  c10::intrusive_ptr<c10d::Work> under_way_ ABSL_GUARDED_BY(mutex_);
  bool is_broken_ ABSL_GUARDED_BY(mutex_) = false;
  TransferSeconds spent_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace flowawr
