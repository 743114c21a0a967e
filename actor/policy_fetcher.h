// Gets a policy version from wherever the learner says, and in the end from the learner itself.
//
// An actor that serves others fetches from others, too. A peer that fails is named to the learner, which names another;
// after a few of them, or when nobody has it for long, the learner is asked for the copy itself: a fleet whose peers are
// broken is slower, never stuck. Only a version whose digest the learner has announced comes from a peer: others, those
// that evaluations sample with, from the learner. Thread-safe.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "actor/actor_metrics.h"
#include "actor/held_policies.h"
#include "actor/learner_client.h"
#include "common/base/steady_cond_var.h"
#include "common/rpc/policy_stream.h"
#include "flowawr/v1/policy.pb.h"

namespace flowawr {

class PolicyFetcher {
 public:
  // After so many peers that failed, the learner sends the copy.
  static constexpr size_t kMostFailedPeers = 3;

  struct Sources {
    // Whoever failed before, for the learner to know.
    std::function<absl::StatusOr<FetchedPolicy>(uint64_t version, uint64_t max_bytes,
                                                const std::vector<std::string>& failed_peers)>
        learner;
    // The learner, or whom it names.
    std::function<absl::StatusOr<PolicyAnswer>(uint64_t version, uint64_t max_bytes,
                                               const std::vector<std::string>& failed_peers)>
        find;
    std::function<absl::StatusOr<FetchedPolicy>(const std::string& endpoint, const v1::PolicyVersion&, absl::Time give_up)>
        peer;
  };
  // `held` gets every adapter that comes; null: this actor neither serves others nor fetches from them. `patience`: how
  // long it waits for peers, in all, beside the time that an adapter takes at kLeastPeerBytesPerSecond. What it is given
  // must outlive it.
  PolicyFetcher(Sources sources, HeldPolicies* held, ActorMetrics* metrics, absl::Duration patience = absl::Seconds(30));

  // As the learner tells of it.
  void Announced(const v1::PolicyVersion& policy);
  // After a restart the learner may make other bytes under the same number.
  void ForgetAnnounced();

  // Digest-checked, and refused above `max_bytes` before anything is allocated. Errors are the learner's, or Cancelled.
  absl::StatusOr<FetchedPolicy> Fetch(uint64_t version, uint64_t max_bytes);
  // Ends what waits, now and from now on.
  void Stop() { stopping_.Notify(); }

 private:
  // Null when the learner has not told of it. The newest few.
  std::optional<v1::PolicyVersion> FindAnnounced(uint64_t version) const;
  absl::StatusOr<FetchedPolicy> FetchFromAnybody(const v1::PolicyVersion& policy, uint64_t max_bytes);
  absl::StatusOr<FetchedPolicy> FetchFromLearner(uint64_t version, uint64_t max_bytes,
                                                 const std::vector<std::string>& failed_peers = {});

  const Sources sources_;
  HeldPolicies* const held_;
  ActorMetrics& metrics_;
  const absl::Duration patience_;
  SteadyNotification stopping_;
  mutable absl::Mutex mutex_;
  std::map<uint64_t, v1::PolicyVersion> announced_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace flowawr
