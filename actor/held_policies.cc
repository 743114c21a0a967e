#include "actor/held_policies.h"

#include <utility>

#include "common/base/large_pages.h"

namespace flowawr {

void HeldPolicies::Add(const FetchedPolicy& policy) {
  if (Find(policy.header.blob().sha256()) != nullptr) return;
  auto added = std::make_shared<FetchedPolicy>();
  added->header = policy.header;
  added->bytes.reserve(policy.bytes.size());
  PreferLargePages(added->bytes.data(), added->bytes.capacity());
  added->bytes = policy.bytes;
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

}  // namespace flowawr
