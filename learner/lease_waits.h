// Who waits for a lease, in the order of their coming. Not thread-safe.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "flowawr/v1/rollout.pb.h"
#include "learner/dispatcher.h"

namespace flowawr {

class LeaseWaits {
 public:
  using OnLease = absl::AnyInvocable<void(absl::StatusOr<v1::AcquireLeaseResponse>)>;

  // `until` is on the scale of MonotonicNow().
  WaitTicket Add(const std::string& actor_id, absl::Time until, OnLease done) {
    const WaitTicket ticket = next_ticket_++;
    waits_.emplace(ticket, Wait{actor_id, until, std::move(done)});
    deadlines_.emplace(until, ticket);
    ++count_of_[actor_id];
    return ticket;
  }
  bool contains(WaitTicket ticket) const { return waits_.contains(ticket); }
  // It is in there.
  OnLease Take(WaitTicket ticket) {
    Wait wait = std::move(waits_.extract(ticket).mapped());
    deadlines_.erase({wait.until, ticket});
    if (const auto count = count_of_.find(wait.actor_id); --count->second == 0) count_of_.erase(count);
    return std::move(wait.done);
  }
  std::vector<OnLease> TakeOf(const std::string& actor_id) {
    std::vector<WaitTicket> tickets;
    for (auto it = waits_.begin(); it != waits_.end() && tickets.size() < count_of(actor_id); ++it)
      if (it->second.actor_id == actor_id) tickets.push_back(it->first);
    std::vector<OnLease> taken;
    for (const WaitTicket ticket : tickets) taken.push_back(Take(ticket));
    return taken;
  }

  std::vector<WaitTicket> tickets() const {
    std::vector<WaitTicket> tickets;
    for (const auto& [ticket, wait] : waits_) tickets.push_back(ticket);
    return tickets;
  }
  const std::string& actor_of(WaitTicket ticket) const { return waits_.at(ticket).actor_id; }
  size_t count_of(const std::string& actor_id) const {
    const auto count = count_of_.find(actor_id);
    return count == count_of_.end() ? 0 : count->second;
  }
  size_t size() const { return waits_.size(); }
  bool empty() const { return waits_.empty(); }
  absl::Time next_deadline() const { return deadlines_.empty() ? absl::InfiniteFuture() : deadlines_.begin()->first; }
  // One whose time is over, if there is one.
  std::optional<WaitTicket> FindOverdue(absl::Time now) const {
    return next_deadline() <= now ? std::optional(deadlines_.begin()->second) : std::nullopt;
  }

 private:
  struct Wait {
    std::string actor_id;
    absl::Time until;
    OnLease done;
  };
  std::map<WaitTicket, Wait> waits_;
  std::set<std::pair<absl::Time, WaitTicket>> deadlines_;
  std::map<std::string, size_t> count_of_;  // by actor
  WaitTicket next_ticket_ = 1;
};

}  // namespace flowawr
