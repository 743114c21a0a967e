// Who the actors are: which session speaks for each, whether it is alive, and what it did. No thread, no clock read, no
// lock: the caller passes the time. What is worth telling goes to the news.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "flowawr/v1/control.pb.h"
#include "learner/actor_news.h"
#include "learner/fleet_counts.h"
#include "learner/recent_rate.h"

namespace flowawr {

// For whoever speaks for an actor that it is not.
absl::Status NotRegistered(const std::string& actor_id);

// Not thread-safe.
class ActorBook {
 public:
  // An actor not heard of for this long is gone; a live one must send heartbeats more often.
  static constexpr absl::Duration kGone = absl::Seconds(10);
  using WatchId = uint64_t;

  struct Actor {
    absl::Time seen;
    bool may_lease = false;
    uint64_t groups = 0, samples = 0, adopted_version = 0;
    RecentRate rate;  // of samples
    std::string address;
    bool was_told_finished = false;
    std::map<std::string, double> stage_seconds;
    std::string session;
    bool has_joined = false;  // this session, with the run's model
    WatchId watch = 0;        // that its end would tell that the actor has gone; 0: none
    bool has_lost_watch = false;
    bool is_lost = false;             // it was told that the actor is not heard of any more
    std::string unreachable_because;  // why it reaches no reward server, so that it hands back what it gets; else empty
  };

  // `heartbeat`: what live actors were told.
  explicit ActorBook(absl::Duration heartbeat) : heartbeat_(heartbeat) {}

  // Each as LeaseDesk's of that name. Claim(): whether waits of earlier sessions end. Register(): the actor held
  // `released` leases until now.
  absl::StatusOr<bool> Claim(const std::string& actor_id, const std::string& session, absl::Time now);
  Actor& Register(const std::string& actor_id, bool has_model, const std::string& address, int released,
                  absl::Time now);
  // Whether it was known.
  bool Leave(const std::string& actor_id, absl::Time now);
  bool IsOf(const std::string& actor_id, const std::string& session) const;
  WatchId BeginWatch(const std::string& actor_id, const std::string& session);
  void EndWatch(const std::string& actor_id, WatchId watch);

  // Null for one that is not known.
  Actor* Find(const std::string& actor_id);
  void Heard(const std::string& actor_id, Actor& actor, absl::Time now);
  // A group of it came in.
  void Made(const std::string& actor_id, uint32_t samples, absl::Time now);
  // It reaches no reward server: told once, and a warning of the status until a group of it comes in.
  void Unreachable(const std::string& actor_id, const std::string& why);
  // Tells of actors that are gone, once each. There are none before next_loss().
  void NoteLost(absl::Time now);
  absl::Time next_loss() const { return next_loss_; }

  // Other actors that are alive, those that load their model included: they soon lease.
  std::vector<std::string> OthersThan(const std::string& actor_id, absl::Time now) const;
  // Of those that are not gone: seconds by actor and stage; how long until the last of those who were not told that the
  // run has finished is gone, nullopt when all were.
  std::map<std::string, std::map<std::string, double>> stage_seconds(absl::Time now) const;
  std::optional<absl::Duration> UntilAllAreGone(absl::Time now) const;
  void AddTo(v1::Status& status, const std::map<std::string, uint32_t>& held_leases, absl::Time now) const;
  const FleetCounts& fleet() const { return fleet_; }
  ActorNews& news() { return news_; }

 private:
  static bool IsGone(const Actor& actor, absl::Time now) { return now - actor.seen >= kGone; }
  // "3 actors work", of those that may lease and are not gone.
  std::string Workforce(absl::Time now) const;

  const absl::Duration heartbeat_;
  std::map<std::string, Actor> actors_;
  WatchId next_watch_ = 1;
  absl::Time next_loss_ = absl::InfiniteFuture();
  FleetCounts fleet_;
  ActorNews news_;
};

}  // namespace flowawr
