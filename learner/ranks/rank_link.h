// The connection between rank 0 and one other rank, and what is said over it.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace flowawr {

enum class RankWord : int64_t {
  kProve = 1,     // at the beginning, see rank_proof.h
  kWelcome,
  kRefused,       // why
  kPing,
  kCompute,       // a share
  kProgress,      // how many micro-batches are done
  kGoOn,
  kCancel,
  kResult,        // the share's gradient
  kFailed,        // what could not be computed, by anybody
  kDeviceFailed,  // by this rank, whose process ends
  kFinished,
  kStore,         // a request to rank 0's store, and its answer, see meeting_store.h
};

struct RankMessage {
  RankWord word = RankWord::kPing;
  std::string text = "";
  std::map<std::string, at::Tensor> tensors = {};  // small ones, of the host
  // [n] f32: adapters and gradients. They may lie on a device, and arrive on the receiver's where a device line joins both.
  std::map<std::string, at::Tensor> vectors = {};
};

// What is taken from the other end at most, before any memory is.
struct MessageBound {
  int64_t text_bytes = int64_t{64} << 10;  // names of tensors included
  int64_t tensor_bytes = 0;
};

struct TransferSeconds {
  double sending = 0, receiving = 0;
};

// One end. One call at a time, but for Break(). After an error it is of no more use.
class RankLink {
 public:
  virtual ~RankLink() = default;

  // Unavailable when the other end is gone; DeadlineExceeded when it did not take, or say, anything for `limit`. Tensors
  // are sent from where they lie. InvalidArgument for a message that is none, or beyond `bound`.
  virtual absl::Status Send(const RankMessage& message, absl::Duration limit) = 0;
  virtual absl::StatusOr<RankMessage> Receive(absl::Duration limit, MessageBound bound = {}) = 0;

  // Ends the call that is under way, and every later one, with Cancelled. From any thread.
  virtual void Break() = 0;

  // Spent on messages so far, without waiting for one to begin. From any thread.
  virtual TransferSeconds spent() const = 0;
};

}  // namespace flowawr
