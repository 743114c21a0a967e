// Fetches adapters from other actors, which need not be trusted: what comes is checked by the digest that the learner
// told.
#pragma once

#include <set>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/rpc/policy_stream.h"
#include "flowawr/v1/config.pb.h"
#include "grpcpp/client_context.h"

namespace flowawr {

// Why a fetch failed, in a word for metrics: unreachable, silent, not_held, refused, wrong_bytes.
const char* PeerFailure(const absl::Status& status);

// Thread-safe.
class PeerClient {
 public:
  // A peer of which nothing comes for so long is given up.
  explicit PeerClient(v1::NetworkConfig network, absl::Duration longest_silence = absl::Seconds(3))
      : network_(std::move(network)), longest_silence_(longest_silence) {}

  // The adapter of `policy`, which is as the learner told of it, from the actor at `endpoint`: its bytes have that
  // digest. Unavailable when nobody is there; DeadlineExceeded when it falls silent or takes too long; NotFound when it
  // does not hold it; DataLoss when it sends something else; other codes when it does not serve this actor; Cancelled.
  absl::StatusOr<FetchedPolicy> Fetch(const std::string& endpoint, const v1::PolicyVersion& policy);
  // Ends fetches, now and from now on.
  void Cancel();

 private:
  class Reading;

  const v1::NetworkConfig network_;
  const absl::Duration longest_silence_;
  absl::Mutex mutex_;
  std::set<grpc::ClientContext*> under_way_ ABSL_GUARDED_BY(mutex_);
  bool is_cancelled_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace flowawr
