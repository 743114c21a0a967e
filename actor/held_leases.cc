#include "actor/held_leases.h"

#include <algorithm>

#include "common/base/clock.h"

namespace flowawr {

uint64_t HeldLeases::Add(const v1::Lease& lease) {
  Entry entry{.purpose = lease.purpose(), .rows = lease.samples(), .is_waiting = true};
  entry.ref.set_group_id(lease.group_id());
  entry.ref.set_attempt(lease.attempt());
  absl::MutexLock lock(&mutex_);
  entries_[next_ticket_] = std::move(entry);
  return next_ticket_++;
}

void HeldLeases::BeginSampling(uint64_t ticket) {
  absl::MutexLock lock(&mutex_);
  if (auto entry = entries_.find(ticket); entry != entries_.end()) entry->second.is_waiting = false;
  changed_.SignalAll();
}

bool HeldLeases::Release(uint64_t ticket) {
  absl::MutexLock lock(&mutex_);
  changed_.SignalAll();
  return entries_.erase(ticket) > 0;
}

bool HeldLeases::IsHeld(uint64_t ticket) const {
  absl::MutexLock lock(&mutex_);
  return entries_.contains(ticket);
}

size_t HeldLeases::size() const {
  absl::MutexLock lock(&mutex_);
  return entries_.size();
}

std::vector<v1::LeaseRef> HeldLeases::Refs() const {
  absl::MutexLock lock(&mutex_);
  std::vector<v1::LeaseRef> refs;
  for (const auto& [ticket, entry] : entries_) refs.push_back(entry.ref);
  return refs;
}

int HeldLeases::Drop(const std::vector<v1::LeaseRef>& refs) {
  absl::MutexLock lock(&mutex_);
  changed_.SignalAll();
  return std::erase_if(entries_, [&refs](const auto& item) {
    return std::any_of(refs.begin(), refs.end(), [&item](const v1::LeaseRef& ref) {
      return ref.group_id() == item.second.ref.group_id() && ref.attempt() == item.second.ref.attempt();
    });
  });
}

void HeldLeases::Clear() {
  absl::MutexLock lock(&mutex_);
  entries_.clear();
  changed_.SignalAll();
}

bool HeldLeases::HasRoom() const {
  WaitingWork waiting;
  for (const auto& [ticket, entry] : entries_) {
    if (!entry.is_waiting) continue;
    if (entry.purpose == v1::EVALUATION) {
      waiting.evaluation_rows += entry.rows;
    } else {
      ++waiting.training_groups;
    }
  }
  return WantsLease(waiting, limits_);
}

bool HeldLeases::WaitForRoom(absl::Duration timeout) const {
  const absl::Time until = MonotonicNow() + timeout;
  absl::MutexLock lock(&mutex_);
  while (!HasRoom() && MonotonicNow() < until) changed_.WaitWithTimeout(&mutex_, until - MonotonicNow());
  return HasRoom();
}

}  // namespace flowawr
