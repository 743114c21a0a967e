// Who has which policy version and who fetches it from whom, so that what the learner sends of a version does not grow
// with the fleet.
//
//   RolloutService ── Join(), Leave() ──> FanOut <── Choose(), CopyEnded(), Adopted() ── PolicyService
//
// The choice is policy_source.h's; this class keeps the books that it is made from. Nothing in them need be true for a
// fleet to get on: actors that are gone, or lie, fail those that are named to them, and those ask for another source.
// Lock order: FanOut, then PolicyShelf. Thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/rpc/fetch_ticket.h"
#include "flowawr/v1/policy.pb.h"
#include "learner/policy_shelf.h"
#include "learner/policy_source.h"
#include "prometheus/counter.h"
#include "prometheus/family.h"
#include "prometheus/registry.h"

namespace flowawr {

class FanOut {
 public:
  // Actors that serve, at most; others are served but not named.
  static constexpr size_t kMostPeers = 4096;
  // An actor that has not adopted a version for so long after it was told its source does not fetch it any more.
  static constexpr absl::Duration kLongestFetch = absl::Minutes(1);

  // All outlive it.
  FanOut(const PolicyShelf* policies, prometheus::Registry* registry, const Clock* clock = &Clock::Real());

  // The actor has registered: it has no version yet. `endpoint`: where it serves others; empty: it does not.
  void Join(const std::string& actor_id, const std::string& endpoint);
  void Leave(const std::string& actor_id);

  // For an actor that accepts another one as its source. What it was told before has come to nothing, and the peer that
  // it was told is counted as having failed it if it says so.
  struct Choice {
    PolicySource source;
    uint64_t copy = 0;  // names the learner's copy for CopyEnded()
  };
  Choice Choose(const v1::FetchPolicyRequest& request);
  // The actor gets a copy of the learner's, whatever it was told before: that has come to nothing, as above.
  void TakeLearners(const v1::FetchPolicyRequest& request);
  // A copy of the learner's has gone out whole, or broke off. `copy` 0: for an actor that accepts no other source.
  void CopyEnded(const std::string& actor_id, uint64_t copy, uint64_t bytes, bool is_whole);
  // For actors that fetch from each other, see common/rpc/fetch_ticket.h.
  const std::string& fetch_key() const { return fetch_key_; }
  // The actor has proved that it has this version.
  void Adopted(const std::string& actor_id, const v1::PolicyVersion& policy);

 private:
  struct Peer {
    std::string endpoint;
    absl::Time seen;
  };
  struct Served {
    int served = 0;
    std::set<std::string> failed;  // actors
  };
  struct Version {
    int copies = 0;
    std::set<std::string> holders;                // peers
    std::map<std::string, Served> by_endpoint;
  };
  // The source that an actor was told last, until it has adopted that version.
  struct Attempt {
    uint64_t version = 0;
    PolicySource source;
    uint64_t copy = 0;
    absl::Time since;
  };

  // Counts the peer that the actor was told as having failed it, if it says so.
  void HearOfFailure(const v1::FetchPolicyRequest& request) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void EndAttempt(const std::string& actor_id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Version& BookOf(uint64_t version) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Points into the peers' entries.
  PolicySpread SpreadFor(const v1::FetchPolicyRequest& request, const Version& book) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Count(const char* source, uint64_t bytes);

  const std::string fetch_key_ = NewFetchKey();
  const PolicyShelf& policies_;
  const Clock& clock_;
  prometheus::Family<prometheus::Counter>& fetches_;
  prometheus::Family<prometheus::Counter>& bytes_;
  prometheus::Counter& failures_;
  absl::Mutex mutex_;
  std::map<std::string, Peer> peers_ ABSL_GUARDED_BY(mutex_);         // by actor
  std::map<uint64_t, Version> versions_ ABSL_GUARDED_BY(mutex_);      // that the shelf keeps
  std::map<std::string, Attempt> attempts_ ABSL_GUARDED_BY(mutex_);   // by actor
  uint64_t next_copy_ ABSL_GUARDED_BY(mutex_) = 1;
};

}  // namespace flowawr
