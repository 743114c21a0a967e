#include "learner/policy_shelf.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/rpc/blob_stream.h"

namespace flowawr {

absl::StatusOr<StoredPolicy> MakeStoredPolicy(const LoraAdapter& adapter, v1::PolicyRole role, uint64_t update) {
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

PolicyShelf::PolicyShelf(Options options)
    : options_(std::move(options)),
      next_version_(options_.next_version),
      dispatcher_([this](Dispatcher::Answers& answers) { return Answer(answers); }) {}

PolicyShelf::~PolicyShelf() { Stop(); }

absl::StatusOr<std::shared_ptr<const StoredPolicy>> PolicyShelf::Publish(const LoraAdapter& adapter,
                                                                         v1::PolicyRole role, uint64_t update) {
  FLOWAWR_ASSIGN_OR_RETURN(StoredPolicy made, options_.make(adapter, role, update));
  const auto stored = std::make_shared<StoredPolicy>(std::move(made));
  Dropped dropped;  // outlives the lock: what nobody else has is freed without it
  absl::MutexLock lock(&mutex_);
  stored->header.mutable_policy()->set_version(next_version_);
  versions_[next_version_++] = stored;
  if (role == v1::BEHAVIOUR_POLICY) newest_behaviour_ = stored;
  dropped = TakeOld(role, role == v1::BEHAVIOUR_POLICY ? options_.keep : 1);
  is_due_ = true;
  dispatcher_.Wake();
  return stored;
}

PolicyShelf::Dropped PolicyShelf::TakeOld(v1::PolicyRole role, size_t keep) {
  std::vector<uint64_t> of_role;
  for (const auto& [version, stored] : versions_)
    if (stored->header.policy().role() == role) of_role.push_back(version);
  Dropped dropped;
  for (size_t i = 0; i + keep < of_role.size(); ++i)
    dropped.push_back(std::move(versions_.extract(of_role[i]).mapped()));
  return dropped;
}

std::shared_ptr<const StoredPolicy> PolicyShelf::Find(uint64_t version) const {
  absl::MutexLock lock(&mutex_);
  const auto found = versions_.find(version);
  return found == versions_.end() ? nullptr : found->second;
}

std::shared_ptr<const StoredPolicy> PolicyShelf::newest_behaviour() const {
  absl::MutexLock lock(&mutex_);
  return newest_behaviour_;
}

uint64_t PolicyShelf::next_version() const {
  absl::MutexLock lock(&mutex_);
  return next_version_;
}

WaitTicket PolicyShelf::AwaitBehaviour(uint64_t after, OnBehaviour done) {
  {
    absl::MutexLock lock(&mutex_);
    if (waits_.size() < kMaxWaits) {
      const WaitTicket ticket = next_ticket_++;
      waits_.emplace(ticket, Wait{after, std::move(done)});
      is_due_ = true;
      dispatcher_.Wake();
      return ticket;
    }
  }
  done(absl::ResourceExhaustedError("too many callers wait already; try again"));
  return 0;
}

void PolicyShelf::CancelWait(WaitTicket ticket) {
  OnBehaviour done;
  {
    absl::MutexLock lock(&mutex_);
    auto wait = waits_.extract(ticket);
    if (wait.empty()) return;
    done = std::move(wait.mapped().done);
  }
  done(absl::CancelledError("the caller has gone"));
}

absl::Time PolicyShelf::Answer(Dispatcher::Answers& answers) {
  absl::MutexLock lock(&mutex_);
  if (!is_due_) return absl::InfiniteFuture();
  is_due_ = false;
  for (auto it = waits_.begin(); it != waits_.end();) {
    const bool is_newer =
        newest_behaviour_ != nullptr && newest_behaviour_->header.policy().version() > it->second.after;
    if (!is_newer && !is_stopped_) {
      ++it;
      continue;
    }
    answers.push_back([done = std::move(it->second.done),
                       answer = is_newer ? newest_behaviour_ : nullptr]() mutable { done(answer); });
    it = waits_.erase(it);
  }
  return absl::InfiniteFuture();
}

absl::Status PolicyShelf::CheckAdoption(const v1::ReportAdoptionRequest& request) const {
  const std::shared_ptr<const StoredPolicy> stored = Find(request.version());
  if (stored == nullptr) return absl::NotFoundError(absl::StrCat("policy version ", request.version(), " is not kept"));
  const v1::PolicyVersion& policy = stored->header.policy();
  if (request.sha256() == policy.sha256() && request.bound_modules() == policy.modules() && policy.modules() != 0)
    return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "actor ", request.actor_id(), " bound ", request.bound_modules(), " of ", policy.modules(),
      " modules of version ", request.version(), request.sha256() == policy.sha256() ? "" : " and its digest differs",
      ": it must not sample with it"));
}

void PolicyShelf::Stop() {
  absl::MutexLock lock(&mutex_);
  is_stopped_ = is_due_ = true;
  dispatcher_.Wake();
}

}  // namespace flowawr
