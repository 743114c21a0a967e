#include "learner/policy_store.h"

#include <iterator>
#include <utility>
#include <vector>

#include "common/base/status.h"
#include "common/rpc/blob_stream.h"

namespace flowawr {

absl::StatusOr<StoredPolicy> PolicyStore::Snapshot(const LoraAdapter& adapter, v1::PolicyRole role, uint64_t update) {
  LoraAdapter copy = adapter.Clone();
  FLOWAWR_ASSIGN_OR_RETURN(std::string bytes, copy.SerializePeft());
  v1::PolicyHeader header;
  *header.mutable_blob() = MakeBlobHeader(bytes);
  header.set_rank(static_cast<int32_t>(copy.layout().rank));
  header.set_alpha(copy.layout().alpha);
  v1::PolicyVersion& policy = *header.mutable_policy();
  policy.set_role(role);
  policy.set_update(update);
  policy.set_sha256(header.blob().sha256());
  policy.set_size(bytes.size());
  policy.set_modules(static_cast<uint32_t>(copy.layout().modules.size()));
  return StoredPolicy{std::move(header), std::move(bytes), std::move(copy)};
}

std::shared_ptr<const StoredPolicy> PolicyStore::Publish(StoredPolicy snapshot) {
  const v1::PolicyRole role = snapshot.header.policy().role();
  snapshot.header.mutable_policy()->set_version(next_version_);
  const auto stored = std::make_shared<const StoredPolicy>(std::move(snapshot));
  versions_[next_version_++] = stored;
  if (role == v1::BEHAVIOUR_POLICY) newest_behaviour_ = stored;
  DropOld(role, role == v1::BEHAVIOUR_POLICY ? keep_ : 1);
  return stored;
}

std::shared_ptr<const StoredPolicy> PolicyStore::Find(uint64_t version) const {
  const auto found = versions_.find(version);
  return found == versions_.end() ? nullptr : found->second;
}

void PolicyStore::DropOld(v1::PolicyRole role, size_t keep) {
  std::vector<uint64_t> of_role;
  for (const auto& [version, stored] : versions_)
    if (stored->header.policy().role() == role) of_role.push_back(version);
  for (size_t i = 0; i + keep < of_role.size(); ++i) versions_.erase(of_role[i]);
}

}  // namespace flowawr
