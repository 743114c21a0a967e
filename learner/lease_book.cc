#include "learner/lease_book.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "learner/group.h"

namespace flowawr {
namespace {

constexpr size_t kGrantsRemembered = 64;

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

bool LeaseBook::IsAside(const std::string& actor_id, absl::Time now) const {
  const auto found = failures_.find(actor_id);
  return found != failures_.end() && found->second.aside_until > now;
}

bool LeaseBook::IsKeptFrom(const Entry& entry, const std::string& actor_id, absl::Time now,
                           const std::vector<std::string>& others) const {
  if (entry.prefer_others_until <= now || !entry.failed_by.contains(actor_id)) return false;
  return std::any_of(others.begin(), others.end(),
                     [&](const std::string& other) { return !entry.failed_by.contains(other); });
}

std::optional<v1::Lease> LeaseBook::Grant(const std::string& actor_id, v1::LeasePurpose preferred, absl::Time now,
                                          const std::vector<std::string>& others) {
  if (!HasWaiting()) return std::nullopt;
  std::vector<std::string> sound = others;
  std::erase_if(sound, [&](const std::string& other) { return IsAside(other, now); });
  if (!sound.empty() && IsAside(actor_id, now)) return std::nullopt;
  const auto first = [&](auto begin, auto end) {
    return std::find_if(begin, end, [&](uint64_t id) { return !IsKeptFrom(open_.at(id), actor_id, now, sound); });
  };
  const auto evaluation = waiting_.lower_bound(kEvaluationGroupBit);
  auto chosen = preferred == v1::EVALUATION ? first(evaluation, waiting_.end()) : waiting_.end();
  if (chosen == waiting_.end()) chosen = first(waiting_.begin(), waiting_.end());
  if (chosen == waiting_.end()) return std::nullopt;
  Entry& entry = open_.at(*chosen);
  waiting_.erase(chosen);
  entry.lease.set_attempt(entry.lease.attempt() + 1);
  entry.granted_to[entry.lease.attempt()] = actor_id;
  if (entry.granted_to.size() > kGrantsRemembered) entry.granted_to.erase(entry.granted_to.begin());
  entry.lease.set_expires_in_s(absl::ToDoubleSeconds(options_.timeout));
  entry.holder = actor_id;
  entry.expires = now + options_.timeout;
  next_expiry_ = std::min(next_expiry_, entry.expires);
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
  GiveUp(entry, absl::StrCat(" was lost ", entry.losses, " times with the actor that made it, last: ", why,
                             ". See the actors' logs for why they end, then resume the run"));
}

void LeaseBook::GiveUp(const Entry& entry, std::string why) {
  exhausted_ = absl::StrCat(NameOf(entry.lease), why);
  exhausted_group_ = entry.lease.group_id();
}

absl::Status LeaseBook::Fail(const std::string& actor_id, const v1::LeaseRef& ref, const std::string& why,
                             absl::Time now, bool is_actors_fault) {
  Entry* entry = FindHeld(actor_id, ref);
  if (entry == nullptr) return NotHeld(actor_id, ref);
  Return(*entry);
  entry->failed_by.insert(actor_id);
  entry->prefer_others_until = now + kPreferOthersFor;
  if (++entry->failures >= options_.max_attempts) {
    GiveUp(*entry, absl::StrCat(" failed ", entry->failures, " times, last: ", why,
                                ". Remedy the cause, then resume the run"));
  }
  if (is_actors_fault) {
    Failures& failures = failures_[actor_id];
    failures.why = why;
    if (++failures.in_a_row >= kFailuresInARow) {
      const uint32_t doublings = std::min(failures.in_a_row - kFailuresInARow, 16u);
      failures.aside_until = now + std::min(kFirstTimeAside * (int64_t{1} << doublings), kLongestTimeAside);
    }
  }
  next_expiry_ = FindNextExpiry();
  return absl::OkStatus();
}

absl::Status LeaseBook::HandBack(const std::string& actor_id, const v1::LeaseRef& ref) {
  Entry* entry = FindHeld(actor_id, ref);
  if (entry == nullptr) return NotHeld(actor_id, ref);
  Return(*entry);
  return absl::OkStatus();
}

int LeaseBook::Expire(absl::Time now) {
  if (now < next_expiry_) return 0;
  int expired = 0;
  for (auto& [id, entry] : open_) {
    if (entry.holder.empty() || entry.expires > now) continue;
    Lose(entry, absl::StrCat("actor ", entry.holder, " stopped renewing its lease"));
    ++expired;
  }
  for (auto& [id, entry] : open_) {
    if (entry.prefer_others_until == absl::InfinitePast() || entry.prefer_others_until > now) continue;
    entry.prefer_others_until = absl::InfinitePast();
    ++expired;
  }
  for (auto& [actor_id, failures] : failures_) {
    if (failures.aside_until == absl::InfinitePast() || failures.aside_until > now) continue;
    failures.aside_until = absl::InfinitePast();
    ++expired;
  }
  next_expiry_ = FindNextExpiry();
  return expired;
}

std::optional<std::string> LeaseBook::WhyAside(const std::string& actor_id, absl::Time now) const {
  if (!IsAside(actor_id, now)) return std::nullopt;
  const Failures& failures = failures_.at(actor_id);
  return absl::StrCat("actor ", actor_id, " failed ", failures.in_a_row, " groups in a row, last: ", failures.why,
                      "; while others do better it is asked again in ",
                      absl::FormatDuration(absl::Ceil(failures.aside_until - now, absl::Seconds(1))));
}

std::vector<std::string> LeaseBook::ActorsSetAside(absl::Time now) const {
  std::vector<std::string> sentences;
  for (const auto& [actor_id, failures] : failures_)
    if (std::optional<std::string> why = WhyAside(actor_id, now)) sentences.push_back(*std::move(why));
  return sentences;
}

bool LeaseBook::IsGranted(uint64_t group_id) const {
  return open_.contains(group_id) && !waiting_.contains(group_id);
}

std::vector<uint64_t> LeaseBook::OpenGroups() const {
  std::vector<uint64_t> ids;
  for (const auto& [id, entry] : open_) ids.push_back(id);
  return ids;
}

bool LeaseBook::WasGranted(const std::string& actor_id, const v1::LeaseRef& ref) const {
  const auto found = open_.find(ref.group_id());
  if (found == open_.end()) return false;
  const auto granted = found->second.granted_to.find(ref.attempt());
  return granted != found->second.granted_to.end() && granted->second == actor_id;
}

void LeaseBook::SetRewardSpec(uint64_t group_id, const v1::RewardSpec& spec) {
  Entry& entry = open_.at(group_id);
  *entry.lease.mutable_reward_spec() = spec;
  entry.failures = entry.losses = 0;
  entry.failed_by.clear();
  Return(entry);
}

void LeaseBook::SetPolicyVersion(uint64_t group_id, uint64_t version) {
  Entry& entry = open_.at(group_id);
  entry.lease.set_policy_version(version);
  Return(entry);
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

void LeaseBook::Complete(uint64_t group_id, const std::string& actor_id) {
  failures_.erase(actor_id);
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
  for (auto& [id, entry] : open_) {
    entry.failures = entry.losses = 0;
    entry.failed_by.clear();
  }
  failures_.clear();
}

size_t LeaseBook::granted() const { return open_.size() - waiting_.size(); }

std::map<std::string, uint32_t> LeaseBook::HeldBy() const {
  std::map<std::string, uint32_t> held;
  for (const auto& [id, entry] : open_)
    if (!entry.holder.empty()) ++held[entry.holder];
  return held;
}

std::optional<absl::Time> LeaseBook::NextExpiry() const {
  return next_expiry_ == absl::InfiniteFuture() ? std::nullopt : std::optional(next_expiry_);
}

absl::Time LeaseBook::FindNextExpiry() const {
  absl::Time next = absl::InfiniteFuture();
  for (const auto& [id, entry] : open_) {
    if (!entry.holder.empty()) next = std::min(next, entry.expires);
    if (entry.prefer_others_until != absl::InfinitePast()) next = std::min(next, entry.prefer_others_until);
  }
  for (const auto& [actor_id, failures] : failures_)
    if (failures.aside_until != absl::InfinitePast()) next = std::min(next, failures.aside_until);
  return next;
}

}  // namespace flowawr
