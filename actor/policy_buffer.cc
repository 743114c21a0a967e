#include "actor/policy_buffer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/rollout/actor_sizes.h"
#include "common/tensor/device_stream.h"

namespace flowawr {
namespace {

// What the header says of itself must agree before the bytes, which have the digest of its blob, are looked at.
absl::Status CheckHeader(const v1::PolicyHeader& header, uint64_t version, const LoraLayout& layout) {
  if (header.policy().version() != version)
    return absl::DataLossError(absl::StrCat("asked for version ", version, ", got ", header.policy().version()));
  if (header.policy().sha256() != header.blob().sha256())
    return absl::DataLossError(absl::StrCat("the adapter's bytes do not have the announced digest ",
                                            absl::BytesToHexString(header.policy().sha256())));
  if (header.rank() != layout.rank || header.alpha() != layout.alpha)
    return absl::FailedPreconditionError(absl::StrCat("adapter of rank ", header.rank(), ", alpha ", header.alpha(),
                                                      "; this run was set up for rank ", layout.rank, ", alpha ",
                                                      layout.alpha));
  return absl::OkStatus();
}

}  // namespace

PolicyBuffer::PolicyBuffer(const Transformer& transformer, std::shared_ptr<const LoraLayout> layout, Fetch fetch,
                           Report report)
    : transformer_(transformer), layout_(std::move(layout)), fetch_(std::move(fetch)), report_(std::move(report)) {}

std::shared_ptr<const AdoptedPolicy> PolicyBuffer::Find(uint64_t version) {
  absl::MutexLock lock(&mutex_);
  const auto found = std::find_if(adopted_.begin(), adopted_.end(),
                                  [version](const auto& adopted) { return adopted->policy.version() == version; });
  if (found == adopted_.end()) return nullptr;
  adopted_.splice(adopted_.begin(), adopted_, found);
  return adopted_.front();
}

absl::StatusOr<std::shared_ptr<const AdoptedPolicy>> PolicyBuffer::Get(uint64_t version) {
  if (auto found = Find(version)) return found;
  absl::MutexLock lock(&fetching_);
  if (auto found = Find(version)) return found;  // fetched by another thread meanwhile
  auto adopted = Adopt(version);
  if (!adopted.ok()) return Annotate(adopted.status(), absl::StrCat("policy version ", version));
  return adopted;
}

absl::StatusOr<std::shared_ptr<const AdoptedPolicy>> PolicyBuffer::Adopt(uint64_t version) {
  uint64_t clears_before;
  {
    absl::MutexLock lock(&mutex_);
    clears_before = clears_;
  }
  FLOWAWR_ASSIGN_OR_RETURN(FetchedPolicy fetched, fetch_(version));
  FLOWAWR_RETURN_IF_ERROR(CheckHeader(fetched.header, version, *layout_));
  auto parsed = LoraAdapter::ParsePeft(std::move(fetched.bytes), layout_);
  if (!parsed.ok()) return absl::FailedPreconditionError(parsed.status().message());
  {
    // Before there is a copy of the layers more, not after.
    absl::MutexLock lock(&mutex_);
    while (adopted_.size() >= size_t{kVersionsKept}) adopted_.pop_back();
  }
  auto bound = transformer_.BindMerged(*parsed);
  if (!bound.ok()) return absl::FailedPreconditionError(bound.status().message());
  AwaitStream(transformer_.placement().device);  // whoever gets it has another stream
  const v1::PolicyVersion& policy = fetched.header.policy();
  if (bound->modules() == 0 || bound->modules() != policy.modules())
    return absl::FailedPreconditionError(
        absl::StrCat("bound ", bound->modules(), " modules of ", policy.modules(), " announced; refusing to sample"));
  FLOWAWR_RETURN_IF_ERROR(report_(policy, bound->modules()));
  auto adopted = std::make_shared<const AdoptedPolicy>(AdoptedPolicy{policy, *std::move(bound)});
  absl::MutexLock lock(&mutex_);
  if (clears_ != clears_before) return absl::AbortedError("the learner was restarted during the fetch");
  adopted_.push_front(adopted);
  newest_version_ = std::max(newest_version_, version);
  return adopted;
}

void PolicyBuffer::Clear() {
  absl::MutexLock lock(&mutex_);
  adopted_.clear();
  newest_version_ = 0;
  ++clears_;
}

uint64_t PolicyBuffer::newest_version() const {
  absl::MutexLock lock(&mutex_);
  return newest_version_;
}

}  // namespace flowawr
