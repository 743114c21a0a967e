// Fetches adapters from other actors, which need not be trusted: what comes is checked by the digest that the learner
// told.
#pragma once

#include <set>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/rpc/fetch_ticket.h"
#include "common/rpc/policy_stream.h"
#include "flowawr/v1/config.pb.h"
#include "grpcpp/client_context.h"

namespace flowawr {

// Why a fetch failed, in a word for metrics: unreachable, silent, not_held, refused, wrong_bytes.
const char* PeerFailure(const absl::Status& status);

// A peer that sends less is given up.
inline constexpr double kLeastPeerBytesPerSecond = 1e6;

// Thread-safe.
class PeerClient {
 public:
  // A peer of which nothing comes for so long is given up.
  explicit PeerClient(v1::NetworkConfig network, absl::Duration longest_silence = absl::Seconds(3))
      : network_(WithoutTokens(std::move(network))), longest_silence_(longest_silence) {}

  // The adapter of `policy`, which is as the learner told of it, from the actor at `endpoint`: its bytes have that
  // digest. `key`: the learner's, of which the peer is shown a ticket. Unavailable when nobody is there; DeadlineExceeded
  // when it falls silent, takes too long or has not given all of it by `give_up`, on the scale of MonotonicNow(); NotFound
  // when it does not hold it; DataLoss when it sends something else; PermissionDenied with what to do when TLS keeps
  // both apart, as of CheckTls(), which is asked where no fetch has reached a peer before: one that is ending may look
  // like that, too. Other codes when it does not serve this actor; Cancelled.
  absl::StatusOr<FetchedPolicy> Fetch(const std::string& endpoint, const v1::PolicyVersion& policy,
                                      const std::string& key, absl::Time give_up = absl::InfiniteFuture());
  // Ends fetches, now and from now on; a check of TLS that is under way takes its second, and the
  // time to look a name up.
  void Cancel();

 private:
  class Reading;

  absl::StatusOr<FetchedPolicy> FetchWhole(const std::string& endpoint, const v1::PolicyVersion& policy,
                                           const std::string& key, absl::Time give_up);
  // Whether TLS can be why nobody is there at `endpoint`.
  bool MayBeTls(const std::string& endpoint);

  const v1::NetworkConfig network_;
  const absl::Duration longest_silence_;
  SpareBytes spare_;
  absl::Mutex mutex_;
  std::set<grpc::ClientContext*> under_way_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string> reached_ ABSL_GUARDED_BY(mutex_);  // endpoints of which something has come
  bool is_cancelled_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace flowawr
