#include "actor/held_policies.h"

#include <utility>

namespace flowawr {

void HeldPolicies::Add(FetchedPolicy policy) {
  if (policy.header.policy().role() != v1::BEHAVIOUR_POLICY || Find(policy.header.blob().sha256()) != nullptr) return;
  auto added = std::make_shared<const FetchedPolicy>(std::move(policy));
  std::shared_ptr<const FetchedPolicy> dropped;  // outlives the lock: an adapter is freed without it
  absl::MutexLock lock(&mutex_);
  held_.push_back(std::move(added));
  if (held_.size() <= kHeld) return;
  dropped = std::move(held_.front());
  held_.pop_front();
}

std::shared_ptr<const FetchedPolicy> HeldPolicies::Find(absl::string_view sha256) const {
  absl::MutexLock lock(&mutex_);
  for (const auto& held : held_)
    if (held->header.blob().sha256() == sha256) return held;
  return nullptr;
}

void HeldPolicies::SetFetchKey(std::string key) {
  absl::MutexLock lock(&mutex_);
  fetch_key_ = std::move(key);
}

std::string HeldPolicies::fetch_key() const {
  absl::MutexLock lock(&mutex_);
  return fetch_key_;
}

}  // namespace flowawr
