// Who may produce which group. Pure decisions: no thread, no clock read, no I/O; the caller passes the time and locks.
//
// A lease is offered once and then moves: waiting -> granted -> (expired or failed) waiting -> ... -> completed. Every
// grant of a lease has the same prompt, seeds, policy version and reward spec, only `attempt` grows, so whichever
// attempt arrives first carries the same samples: an older attempt's group is accepted as long as the lease is open.
// SetRewardSpec() and SetPolicyVersion() begin it anew under another spec or version.
//
// An attempt that ends without its group
//   failed          when its holder says that it cannot make the group (sampling, scoring, a refused submission);
//   was lost        when its holder fell silent or started again, and nobody can say why;
//   was handed back when its holder stops in good order.
// `max_attempts` bounds failures. Handing back counts for nothing. Losses are ordinary where machines come and go, so
// that they count apart from failures; but a prompt that kills whoever takes it must come to an end too: a lease is
// given up after kLossesPerAttempt times `max_attempts` losses.
//
// One actor that can make nothing (a wrong address, a broken disk) must not use up the attempts that others would make:
// a failed lease goes to another actor if there is one, and an actor that fails kFailuresInARow leases in a row is set
// aside for a growing while. Both only as long as other actors are in good standing.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "flowawr/v1/rollout.pb.h"

namespace flowawr {

// Not thread-safe.
class LeaseBook {
 public:
  static constexpr uint32_t kLossesPerAttempt = 3;
  static constexpr uint32_t kFailuresInARow = 3;
  // Another actor that is too busy to take a failed lease is not waited for any longer.
  static constexpr absl::Duration kPreferOthersFor = absl::Seconds(30);
  static constexpr absl::Duration kFirstTimeAside = absl::Seconds(5), kLongestTimeAside = absl::Minutes(5);

  struct Options {
    absl::Duration timeout;
    uint32_t max_attempts = 1;
  };
  // What a submitted group is, by its lease.
  enum class Standing { kOpen, kCompleted, kUnknown };

  explicit LeaseBook(const Options& options) : options_(options) {}

  // `lease.group_id` must not be open. Forgets that an earlier lease of that id was completed.
  void Offer(v1::Lease lease);
  // Takes a lease back whatever its state; its holders learn of it with their next heartbeat.
  void Withdraw(uint64_t group_id);

  // The waiting lease with the smallest id of the preferred purpose, else of the other. `others` are the other actors
  // that are alive. Nullopt when none waits for this actor or a lease has used up its attempts.
  std::optional<v1::Lease> Grant(const std::string& actor_id, v1::LeasePurpose preferred, absl::Time now,
                                 const std::vector<std::string>& others = {});
  // Prolongs what `actor_id` still holds; returns the references that are no longer worth finishing.
  std::vector<v1::LeaseRef> Renew(const std::string& actor_id, const std::vector<v1::LeaseRef>& refs, absl::Time now);
  // The holder cannot make the group, or does not want to: the lease waits again. NotFound when that attempt is not the
  // one granted.
  // `is_actors_fault` is false when any actor would fail, e.g. for a prompt that cannot be scored.
  absl::Status Fail(const std::string& actor_id, const v1::LeaseRef& ref, const std::string& why, absl::Time now,
                    bool is_actors_fault = true);
  absl::Status HandBack(const std::string& actor_id, const v1::LeaseRef& ref);
  // Everything whose time is over is lost and waits again, or may be granted to those it was kept from; returns how
  // much that was.
  int Expire(absl::Time now);
  // An actor that registers anew holds nothing: what it held is lost and waits again.
  int ReleaseActor(const std::string& actor_id);

  const v1::Lease* Find(uint64_t group_id) const;  // open leases only
  bool IsGranted(uint64_t group_id) const;
  std::vector<uint64_t> OpenGroups() const;
  // Whether that attempt of an open lease was ever granted to that actor.
  bool WasGranted(const std::string& actor_id, const v1::LeaseRef& ref) const;
  // An open lease is to be scored by another spec: whoever holds it loses it, and its attempts begin anew.
  void SetRewardSpec(uint64_t group_id, const v1::RewardSpec& spec);
  // An open lease is to be sampled by another version: whoever holds it loses it. Its attempts go on.
  void SetPolicyVersion(uint64_t group_id, uint64_t version);
  Standing StandingOf(uint64_t group_id) const;
  void Complete(uint64_t group_id, const std::string& actor_id = "");
  // The group came but cannot be used (e.g. too old): the same prompt and seeds again under the given version.
  void OfferAgain(v1::Lease lease);
  // Completed ids below `group_id` of training leases are forgotten: they answer kCompleted by being below it.
  void ForgetTrainingBelow(uint64_t group_id);

  // Set when a lease is given up, by the rule above; nothing is granted until ResetAttempts().
  const std::optional<std::string>& exhausted() const { return exhausted_; }
  uint64_t exhausted_group() const { return exhausted_group_; }  // while there is such a lease
  void ResetAttempts();

  // A sentence on an actor that is set aside, nullopt for any other; one for each of them.
  std::optional<std::string> WhyAside(const std::string& actor_id, absl::Time now) const;
  std::vector<std::string> ActorsSetAside(absl::Time now) const;

  bool HasWaiting() const { return !waiting_.empty() && !exhausted_; }
  size_t granted() const;
  std::map<std::string, uint32_t> HeldBy() const;  // granted leases by holder
  // Before then Expire() has nothing to do; nullopt: nor ever, as things are. Looks at no lease: it is asked at every
  // call of every actor.
  std::optional<absl::Time> NextExpiry() const;

 private:
  struct Entry {
    v1::Lease lease;
    std::string holder;  // empty: waiting
    absl::Time expires;
    uint32_t failures = 0, losses = 0;
    std::map<uint32_t, std::string> granted_to = {};  // by attempt, the newest kGrantsRemembered
    std::set<std::string> failed_by = {};
    absl::Time prefer_others_until = absl::InfinitePast();
  };
  struct Failures {
    uint32_t in_a_row = 0;
    absl::Time aside_until = absl::InfinitePast();
    std::string why;  // the last
  };
  // Null when that attempt is not the one granted to the actor.
  Entry* FindHeld(const std::string& actor_id, const v1::LeaseRef& ref);
  void Return(Entry& entry);
  void Lose(Entry& entry, const std::string& why);
  void GiveUp(const Entry& entry, std::string why);
  bool IsKeptFrom(const Entry& entry, const std::string& actor_id, absl::Time now,
                  const std::vector<std::string>& others) const;
  bool IsAside(const std::string& actor_id, absl::Time now) const;
  // InfiniteFuture: nothing expires.
  absl::Time FindNextExpiry() const;

  const Options options_;
  std::map<uint64_t, Entry> open_;
  std::set<uint64_t> waiting_;  // ids of open_ without a holder
  std::set<uint64_t> completed_;
  uint64_t training_floor_ = 0;
  std::optional<std::string> exhausted_;
  uint64_t exhausted_group_ = 0;
  std::map<std::string, Failures> failures_;  // by actor, since it last made a group
  absl::Time next_expiry_ = absl::InfiniteFuture();  // nothing expires before; exact after Expire() and Fail()
};

}  // namespace flowawr
