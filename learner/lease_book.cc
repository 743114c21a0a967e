#include "learner/lease_book.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "learner/group.h"

namespace flowawr {
namespace {

std::string NameOf(const v1::Lease& lease) {
  return absl::StrCat("group ", lease.group_id(), " (prompt \"", lease.prompt().text(), "\")");
}

absl::Status NotHeld(const std::string& actor_id, const v1::LeaseRef& ref) {
  return absl::NotFoundError(
      absl::StrCat("group ", ref.group_id(), " attempt ", ref.attempt(), " is not leased to ", actor_id));
}

}  // namespace

void LeaseBook::Offer(v1::Lease lease) {
  const uint64_t id = lease.group_id();
  lease.set_attempt(0);
  completed_.erase(id);
  open_[id] = Entry{.lease = std::move(lease)};
  waiting_.insert(id);
}

void LeaseBook::Withdraw(uint64_t group_id) {
  open_.erase(group_id);
  waiting_.erase(group_id);
}

std::optional<v1::Lease> LeaseBook::Grant(const std::string& actor_id, v1::LeasePurpose preferred, absl::Time now) {
  if (!HasWaiting()) return std::nullopt;
  auto chosen = waiting_.begin();
  if (preferred == v1::EVALUATION) {
    const auto first_evaluation = waiting_.lower_bound(kEvaluationGroupBit);
    if (first_evaluation != waiting_.end()) chosen = first_evaluation;
  }
  Entry& entry = open_.at(*chosen);
  waiting_.erase(chosen);
  entry.lease.set_attempt(entry.lease.attempt() + 1);
  entry.lease.set_expires_in_s(absl::ToDoubleSeconds(options_.timeout));
  entry.holder = actor_id;
  entry.expires = now + options_.timeout;
  return entry.lease;
}

std::vector<v1::LeaseRef> LeaseBook::Renew(const std::string& actor_id, const std::vector<v1::LeaseRef>& refs,
                                           absl::Time now) {
  std::vector<v1::LeaseRef> dropped;
  for (const v1::LeaseRef& ref : refs) {
    if (Entry* entry = FindHeld(actor_id, ref)) {
      entry->expires = now + options_.timeout;
    } else {
      dropped.push_back(ref);
    }
  }
  return dropped;
}

LeaseBook::Entry* LeaseBook::FindHeld(const std::string& actor_id, const v1::LeaseRef& ref) {
  const auto found = open_.find(ref.group_id());
  if (found == open_.end()) return nullptr;
  Entry& entry = found->second;
  const bool is_held = !entry.holder.empty() && entry.holder == actor_id && entry.lease.attempt() == ref.attempt();
  return is_held ? &entry : nullptr;
}

void LeaseBook::Return(Entry& entry) {
  entry.holder.clear();
  waiting_.insert(entry.lease.group_id());
}

void LeaseBook::Lose(Entry& entry, const std::string& why) {
  Return(entry);
  if (++entry.losses < kLossesPerAttempt * options_.max_attempts) return;
  exhausted_ =
      absl::StrCat(NameOf(entry.lease), " was lost ", entry.losses, " times with the actor that made it, last: ", why,
                   ". See the actors' logs for why they end, then resume the run");
}

absl::Status LeaseBook::Fail(const std::string& actor_id, const v1::LeaseRef& ref, const std::string& why) {
  Entry* entry = FindHeld(actor_id, ref);
  if (entry == nullptr) return NotHeld(actor_id, ref);
  Return(*entry);
  if (++entry->failures >= options_.max_attempts) {
    exhausted_ = absl::StrCat(NameOf(entry->lease), " failed ", entry->failures, " times, last: ", why,
                              ". Remedy the cause, then resume the run");
  }
  return absl::OkStatus();
}

absl::Status LeaseBook::HandBack(const std::string& actor_id, const v1::LeaseRef& ref) {
  Entry* entry = FindHeld(actor_id, ref);
  if (entry == nullptr) return NotHeld(actor_id, ref);
  Return(*entry);
  return absl::OkStatus();
}

int LeaseBook::Expire(absl::Time now) {
  int expired = 0;
  for (auto& [id, entry] : open_) {
    if (entry.holder.empty() || entry.expires > now) continue;
    Lose(entry, absl::StrCat("actor ", entry.holder, " stopped renewing its lease"));
    ++expired;
  }
  return expired;
}

int LeaseBook::ReleaseActor(const std::string& actor_id) {
  int released = 0;
  for (auto& [id, entry] : open_) {
    if (entry.holder.empty() || entry.holder != actor_id) continue;
    Lose(entry, absl::StrCat("actor ", actor_id, " started again"));
    ++released;
  }
  return released;
}

const v1::Lease* LeaseBook::Find(uint64_t group_id) const {
  const auto found = open_.find(group_id);
  return found == open_.end() ? nullptr : &found->second.lease;
}

LeaseBook::Standing LeaseBook::StandingOf(uint64_t group_id) const {
  if (open_.contains(group_id)) return Standing::kOpen;
  return completed_.contains(group_id) || group_id < training_floor_ ? Standing::kCompleted : Standing::kUnknown;
}

void LeaseBook::Complete(uint64_t group_id) {
  Withdraw(group_id);
  completed_.insert(group_id);
}

void LeaseBook::OfferAgain(v1::Lease lease) {
  const uint32_t attempt = lease.attempt();
  const uint64_t id = lease.group_id();
  Offer(std::move(lease));
  open_.at(id).lease.set_attempt(attempt);
}

void LeaseBook::ForgetTrainingBelow(uint64_t group_id) {
  training_floor_ = std::max(training_floor_, group_id);
  completed_.erase(completed_.begin(), completed_.lower_bound(training_floor_));
}

void LeaseBook::ResetAttempts() {
  exhausted_.reset();
  for (auto& [id, entry] : open_) entry.failures = entry.losses = 0;
}

size_t LeaseBook::granted() const { return open_.size() - waiting_.size(); }

std::optional<absl::Time> LeaseBook::NextExpiry() const {
  std::optional<absl::Time> next;
  for (const auto& [id, entry] : open_) {
    if (!entry.holder.empty() && (!next || entry.expires < *next)) next = entry.expires;
  }
  return next;
}

}  // namespace flowawr
