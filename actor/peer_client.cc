#include "actor/peer_client.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/base/steady_cond_var.h"
#include "common/rpc/channel.h"
#include "common/rpc/status.h"
#include "common/rpc/tls_check.h"
#include "flowawr/v1/policy.grpc.pb.h"

namespace flowawr {
namespace {

// Of a whole fetch: one that keeps sending, but too little, ends too.
constexpr absl::Duration kLeastTime = absl::Seconds(10);

// Nothing ends the check of TLS before its time, so an actor that stops waits for it. Enough for a handshake, as
// whoever is not there at all refuses at once.
constexpr absl::Duration kTlsCheckLimit = absl::Seconds(1);

constexpr size_t kMostReached = 4096;  // endpoints; forgotten beyond that, which costs a check

// That it came from the peer, and not from the way to it.
bool IsOfPeer(const absl::Status& status) {
  return !absl::IsUnavailable(status) && !absl::IsDeadlineExceeded(status) && !absl::IsCancelled(status);
}

}  // namespace

const char* PeerFailure(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
      return "unreachable";
    case absl::StatusCode::kDeadlineExceeded:
      return "silent";
    case absl::StatusCode::kNotFound:
      return "not_held";
    case absl::StatusCode::kDataLoss:
      return "wrong_bytes";
    default:
      return "refused";
  }
}

// One call; whoever made it waits for its end in Await().
class PeerClient::Reading final : public grpc::ClientReadReactor<v1::FetchPolicyResponse> {
 public:
  Reading(v1::PolicyPeer::Stub& stub, grpc::ClientContext& context, const v1::PolicyVersion& policy, SpareBytes& spare)
      : context_(context), policy_(policy.size(), spare, policy.sha256()) {
    request_.set_sha256(policy.sha256());
    stub.async()->FetchAdapter(&context, &request_, this);
    StartRead(&part_);
    StartCall();
  }

  absl::StatusOr<FetchedPolicy> Await(absl::Duration longest_silence) {
    bool is_silent = false;
    {
      absl::MutexLock lock(&mutex_);
      while (!is_done_ && !is_silent) {
        const int parts = parts_;
        const absl::Time until = MonotonicNow() + longest_silence;
        while (!is_done_ && parts_ == parts && MonotonicNow() < until)
          changed_.WaitWithTimeout(&mutex_, until - MonotonicNow());
        is_silent = !is_done_ && parts_ == parts;
      }
    }
    if (is_silent) context_.TryCancel();
    done_.WaitForNotification();
    absl::MutexLock lock(&mutex_);
    if (!received_.ok()) return absl::DataLossError(received_.message());
    if (is_silent)
      return absl::DeadlineExceededError(absl::StrCat("nothing came for ", absl::FormatDuration(longest_silence)));
    FLOWAWR_RETURN_IF_ERROR(ended_);
    absl::StatusOr<FetchedPolicy> policy = policy_.Finish();
    if (!policy.ok()) return absl::DataLossError(policy.status().message());
    return policy;
  }

  bool has_heard() {
    absl::MutexLock lock(&mutex_);
    return parts_ > 0;
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    {
      absl::MutexLock lock(&mutex_);
      received_ = policy_.Add(part_);
      ++parts_;
      changed_.SignalAll();
      if (!received_.ok()) return context_.TryCancel();
    }
    StartRead(&part_);
  }
  void OnDone(const grpc::Status& status) override {
    {
      absl::MutexLock lock(&mutex_);
      ended_ = FromGrpc(status);
      is_done_ = true;
      changed_.SignalAll();
    }
    done_.Notify();
  }

 private:
  grpc::ClientContext& context_;
  v1::FetchAdapterRequest request_;
  v1::FetchPolicyResponse part_;
  absl::Notification done_;  // the call needs this object no more
  absl::Mutex mutex_;
  SteadyCondVar changed_;
  PolicyAssembler policy_ ABSL_GUARDED_BY(mutex_);
  absl::Status received_ ABSL_GUARDED_BY(mutex_);
  absl::Status ended_ ABSL_GUARDED_BY(mutex_);
  int parts_ ABSL_GUARDED_BY(mutex_) = 0;
  bool is_done_ ABSL_GUARDED_BY(mutex_) = false;
};

absl::StatusOr<FetchedPolicy> PeerClient::Fetch(const std::string& endpoint, const v1::PolicyVersion& policy,
                                                const std::string& key, absl::Time give_up) {
  absl::StatusOr<FetchedPolicy> fetched = FetchWhole(endpoint, policy, key, give_up);
  if (!absl::IsUnavailable(fetched.status()) || !MayBeTls(endpoint)) return fetched;
  const absl::Duration left = std::clamp(give_up - MonotonicNow(), absl::ZeroDuration(), kTlsCheckLimit);
  FLOWAWR_RETURN_IF_ERROR(CheckTls(endpoint, network_, Callee::kActor, left));
  return fetched;
}

absl::StatusOr<FetchedPolicy> PeerClient::FetchWhole(const std::string& endpoint, const v1::PolicyVersion& policy,
                                                     const std::string& key, absl::Time give_up) {
  FLOWAWR_ASSIGN_OR_RETURN(const auto channel, MakeChannel(endpoint, network_, Callee::kActor));
  const auto stub = v1::PolicyPeer::NewStub(channel);
  const absl::Duration time = kLeastTime + absl::Seconds(static_cast<double>(policy.size()) / kLeastPeerBytesPerSecond);
  const auto context = MakeContext(std::clamp(give_up - MonotonicNow(), absl::ZeroDuration(), time), network_);
  ShowTicket(key, policy.sha256(), context.get());
  {
    absl::MutexLock lock(&mutex_);
    under_way_.insert(context.get());
    if (is_cancelled_) context->TryCancel();
  }
  const absl::Cleanup forget = [&] {
    absl::MutexLock lock(&mutex_);
    under_way_.erase(context.get());
  };
  Reading reading(*stub, *context, policy, spare_);
  absl::StatusOr<FetchedPolicy> fetched = reading.Await(longest_silence_);
  if (reading.has_heard() || IsOfPeer(fetched.status())) {
    absl::MutexLock lock(&mutex_);
    if (reached_.size() >= kMostReached) reached_.clear();
    reached_.insert(endpoint);
  }
  // All that it tells of the version beside its bytes is the learner's to say.
  if (fetched.ok()) *fetched->header.mutable_policy() = policy;
  return fetched;
}

bool PeerClient::MayBeTls(const std::string& endpoint) {
  absl::MutexLock lock(&mutex_);
  return !is_cancelled_ && reached_.count(endpoint) == 0;
}

void PeerClient::Cancel() {
  absl::MutexLock lock(&mutex_);
  is_cancelled_ = true;
  for (grpc::ClientContext* context : under_way_) context->TryCancel();
}

}  // namespace flowawr
