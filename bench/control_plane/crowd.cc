#include "bench/control_plane/crowd.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "common/base/clock.h"
#include "common/nn/instruction_set.h"
#include "common/rpc/blob_stream.h"
#include "flowawr/v1/policy.grpc.pb.h"
#include "flowawr/v1/rollout.grpc.pb.h"
#include "grpcpp/alarm.h"
#include "grpcpp/create_channel.h"
#include "tests/learner/small_run.h"

namespace flowawr {
namespace {

using RolloutCalls = v1::Rollout::StubInterface::async_interface;
using PolicyCalls = v1::PolicyStore::StubInterface::async_interface;

constexpr absl::Duration kDeadline = absl::Minutes(1), kWatch = absl::Hours(1);

std::unique_ptr<grpc::ClientContext> Context(absl::Duration deadline) {
  auto context = std::make_unique<grpc::ClientContext>();
  context->set_deadline(absl::ToChronoTime(absl::Now() + deadline));
  return context;
}

template <typename Request>
Request Signed(const std::string& actor_id) {
  Request request;
  request.set_actor_id(actor_id);
  request.set_session("bench");
  return request;
}

// What the actors of a crowd share. Thread-safe.
class Tally {
 public:
  using Figure = std::vector<double> CrowdFigures::*;

  void Took(Figure figure, absl::Duration time) {
    absl::MutexLock lock(&mutex_);
    if (is_measured_) (figures_.*figure).push_back(absl::ToDoubleMilliseconds(time));
  }
  void CountAdoption() {
    absl::MutexLock lock(&mutex_);
    if (is_measured_) ++figures_.adoptions;
  }
  void Failed(const char* what, const grpc::Status& status) {
    std::fprintf(stderr, "%s: %s\n", what, status.error_message().c_str());
    absl::MutexLock lock(&mutex_);
    ++figures_.failures;
  }
  void Measure(bool is_measured) {
    absl::MutexLock lock(&mutex_);
    is_measured_ = is_measured;
  }
  CrowdFigures figures() const {
    absl::MutexLock lock(&mutex_);
    return figures_;
  }

  void Announce(const v1::PolicyVersion& policy) {
    absl::MutexLock lock(&mutex_);
    versions_[policy.version()] = policy;
  }
  v1::PolicyVersion Find(uint64_t version) const {
    absl::MutexLock lock(&mutex_);
    const auto found = versions_.find(version);
    return found == versions_.end() ? v1::PolicyVersion() : found->second;
  }

  // No pause ends, and no call begins, from now on.
  void Stop() { is_stopping_ = true; }
  bool is_stopping() const { return is_stopping_; }
  // Calls and pauses under way.
  void Begin() { ++under_way_; }
  void End() { --under_way_; }
  int under_way() const { return under_way_; }

 private:
  std::atomic<bool> is_stopping_ = false;
  std::atomic<int> under_way_ = 0;
  mutable absl::Mutex mutex_;
  bool is_measured_ ABSL_GUARDED_BY(mutex_) = false;
  CrowdFigures figures_ ABSL_GUARDED_BY(mutex_);
  std::map<uint64_t, v1::PolicyVersion> versions_ ABSL_GUARDED_BY(mutex_);
};

// One call without streams; `next` when it has ended well.
template <typename Request, typename Response, typename Calls>
void Call(Calls* calls, const char* what,
          void (Calls::*method)(grpc::ClientContext*, const Request*, Response*, std::function<void(grpc::Status)>),
          Request request, Tally& tally, std::function<void(const Response&, absl::Duration)> next) {
  struct State {
    std::unique_ptr<grpc::ClientContext> context = Context(kDeadline);
    Request request;
    Response response;
    absl::Time begun = MonotonicNow();
  };
  const auto state = std::make_shared<State>();
  state->request = std::move(request);
  tally.Begin();
  (calls->*method)(state->context.get(), &state->request, &state->response,
                   [state, what, &tally, next = std::move(next)](const grpc::Status& status) {
                     if (status.ok())
                       next(state->response, MonotonicNow() - state->begun);
                     else
                       tally.Failed(what, status);
                     tally.End();
                   });
}

// A group on its way: header and one chunk. Deletes itself.
class Submission final : public grpc::ClientWriteReactor<v1::SubmitGroupRequest> {
 public:
  Submission(RolloutCalls* calls, SmallGroup group, Tally& tally, std::function<void()> next)
      : group_(std::move(group)), tally_(tally), next_(std::move(next)) {
    group_.header.set_session("bench");
    tally_.Begin();
    calls->SubmitGroup(context_.get(), &response_, this);
    *part_.mutable_header() = group_.header;
    StartWrite(&part_);
    StartCall();
  }
  void OnWriteDone(bool ok) override {
    if (!ok || part_.has_chunk()) return;
    *part_.mutable_chunk() = ChunkAt(group_.blob, 0);
    StartWriteLast(&part_, grpc::WriteOptions());
  }
  void OnDone(const grpc::Status& status) override {
    if (status.ok())
      tally_.Took(&CrowdFigures::submit_ms, MonotonicNow() - begun_);
    else
      tally_.Failed("SubmitGroup", status);
    next_();
    tally_.End();
    delete this;
  }

 private:
  const std::unique_ptr<grpc::ClientContext> context_ = Context(kDeadline);
  const absl::Time begun_ = MonotonicNow();
  SmallGroup group_;
  Tally& tally_;
  const std::function<void()> next_;
  v1::SubmitGroupRequest part_;
  v1::SubmitGroupResponse response_;
};

// Reads a version and leaves it. Deletes itself.
class Fetch final : public grpc::ClientReadReactor<v1::FetchPolicyResponse> {
 public:
  Fetch(PolicyCalls* calls, v1::FetchPolicyRequest request, Tally& tally, std::function<void()> next)
      : request_(std::move(request)), tally_(tally), next_(std::move(next)) {
    tally_.Begin();
    calls->FetchPolicy(context_.get(), &request_, this);
    StartRead(&part_);
    StartCall();
  }
  void OnReadDone(bool ok) override {
    if (ok) StartRead(&part_);
  }
  void OnDone(const grpc::Status& status) override {
    if (status.ok())
      next_();
    else
      tally_.Failed("FetchPolicy", status);
    tally_.End();
    delete this;
  }

 private:
  const std::unique_ptr<grpc::ClientContext> context_ = Context(kDeadline);
  const v1::FetchPolicyRequest request_;
  Tally& tally_;
  const std::function<void()> next_;
  v1::FetchPolicyResponse part_;
};

// Three chains of calls, each begun by the end of the one before: leases, heartbeats, policies.
class CrowdActor final : public grpc::ClientReadReactor<v1::PolicyVersion> {
 public:
  CrowdActor(const std::shared_ptr<grpc::Channel>& channel, int number, const CrowdOptions& options, Tally& tally)
      : name_(absl::StrCat("actor-", number)),
        options_(options),
        tally_(tally),
        rollout_(v1::Rollout::NewStub(channel)),
        policies_(v1::PolicyStore::NewStub(channel)),
        random_(static_cast<unsigned>(number)) {}

  void Start() {
    auto request = Signed<v1::RegisterRequest>(name_);
    (*request.mutable_model_parts())["transformer"] = "0123456789abcdef";
    request.set_instruction_set(std::string(kernels::NameOf(kernels::ActiveInstructionSet())));
    Call<v1::RegisterRequest, v1::RegisterResponse, RolloutCalls>(
        rollout_->async(), "Register", &RolloutCalls::Register, std::move(request), tally_, [this](const auto&, auto) {
          Watch();
          Pause(&beats_, options_.heartbeat * Uniform(0, 1), [this] { Beat(); });
          Pause(&works_, options_.group * Uniform(0, 1), [this] { Acquire(); });
        });
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    tally_.Announce(version_);
    auto request = Signed<v1::FetchPolicyRequest>(name_);
    request.set_version(version_.version());
    new Fetch(policies_->async(), std::move(request), tally_, [this, policy = version_] { Adopt(policy); });
    StartRead(&version_);
  }
  void OnDone(const grpc::Status& status) override {
    if (!status.ok()) tally_.Failed("WatchPolicy", status);
    tally_.End();
  }

 private:
  void Watch() {
    tally_.Begin();
    watched_ = Signed<v1::WatchPolicyRequest>(name_);
    policies_->async()->WatchPolicy(watch_.get(), &watched_, this);
    StartRead(&version_);
    StartCall();
  }

  void Adopt(const v1::PolicyVersion& policy) {
    auto request = Signed<v1::ReportAdoptionRequest>(name_);
    request.set_version(policy.version());
    request.set_sha256(policy.sha256());
    request.set_bound_modules(policy.modules());
    Call<v1::ReportAdoptionRequest, v1::ReportAdoptionResponse, PolicyCalls>(
        policies_->async(), "ReportAdoption", &PolicyCalls::ReportAdoption, std::move(request), tally_,
        [this](const auto&, auto) { tally_.CountAdoption(); });
  }

  void Beat() {
    auto request = Signed<v1::RenewLeasesRequest>(name_);
    for (const char* stage : {"encode", "sample", "decode", "score", "submit", "idle"})
      (*request.mutable_stage_seconds())[stage] = 12.5;
    {
      absl::MutexLock lock(&mutex_);
      if (held_) *request.add_leases() = *held_;
    }
    Call<v1::RenewLeasesRequest, v1::RenewLeasesResponse, RolloutCalls>(
        rollout_->async(), "RenewLeases", &RolloutCalls::RenewLeases, std::move(request), tally_,
        [this](const auto&, absl::Duration took) {
          tally_.Took(&CrowdFigures::renew_ms, took);
          Pause(&beats_, options_.heartbeat, [this] { Beat(); });
        });
  }

  void Acquire() {
    auto request = Signed<v1::AcquireLeaseRequest>(name_);
    request.set_wait_s(10);
    Call<v1::AcquireLeaseRequest, v1::AcquireLeaseResponse, RolloutCalls>(
        rollout_->async(), "AcquireLease", &RolloutCalls::AcquireLease, std::move(request), tally_,
        [this](const v1::AcquireLeaseResponse& answer, absl::Duration took) {
          if (tally_.is_stopping()) return;
          if (!answer.has_lease()) return Acquire();
          tally_.Took(&CrowdFigures::lease_ms, took);
          Sample(answer.lease());
        });
  }

  void Sample(const v1::Lease& lease) {
    Hold(&lease);
    Pause(&works_, options_.group * Uniform(.5, 1.5), [this, lease] {
      new Submission(rollout_->async(), MakeSmallGroup(lease, tally_.Find(lease.policy_version()), name_), tally_,
                     [this] {
                       Hold(nullptr);
                       if (!tally_.is_stopping()) Acquire();
                     });
    });
  }

  void Hold(const v1::Lease* lease) {
    absl::MutexLock lock(&mutex_);
    held_.reset();
    if (lease == nullptr) return;
    held_.emplace();
    held_->set_group_id(lease->group_id());
    held_->set_attempt(lease->attempt());
  }

  double Uniform(double from, double to) {
    absl::MutexLock lock(&mutex_);
    return std::uniform_real_distribution<double>(from, to)(random_);
  }

  // `alarm`: of the chain, whose last pause is over.
  void Pause(std::unique_ptr<grpc::Alarm>* alarm, absl::Duration pause, std::function<void()> next) {
    tally_.Begin();
    *alarm = std::make_unique<grpc::Alarm>();
    (*alarm)->Set(absl::ToChronoTime(absl::Now() + pause), [this, next = std::move(next)](bool) {
      if (!tally_.is_stopping()) next();
      tally_.End();
    });
  }

  const std::string name_;
  const CrowdOptions& options_;
  Tally& tally_;
  const std::unique_ptr<v1::Rollout::Stub> rollout_;
  const std::unique_ptr<v1::PolicyStore::Stub> policies_;
  std::unique_ptr<grpc::Alarm> beats_, works_;
  const std::unique_ptr<grpc::ClientContext> watch_ = Context(kWatch);
  v1::WatchPolicyRequest watched_;
  v1::PolicyVersion version_;
  absl::Mutex mutex_;
  std::mt19937 random_ ABSL_GUARDED_BY(mutex_);
  std::optional<v1::LeaseRef> held_ ABSL_GUARDED_BY(mutex_);
};

std::vector<std::shared_ptr<grpc::Channel>> Connect(const std::string& endpoint, int connections) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // a connection of its own
  std::vector<std::shared_ptr<grpc::Channel>> channels;
  for (int i = 0; i < connections; ++i)
    channels.push_back(grpc::CreateCustomChannel(endpoint, grpc::InsecureChannelCredentials(), arguments));
  return channels;
}

}  // namespace

CrowdFigures RunCrowd(const std::string& endpoint, const CrowdOptions& options, absl::FunctionRef<void()> finish) {
  const auto channels = Connect(endpoint, options.connections);
  Tally tally;
  std::vector<std::unique_ptr<CrowdActor>> crowd;
  for (int i = 0; i < options.actors; ++i)
    crowd.push_back(std::make_unique<CrowdActor>(channels[i % channels.size()], i, options, tally));
  for (const auto& actor : crowd) actor->Start();
  // What all do at once at the beginning is no measure of what follows.
  absl::SleepFor(options.group + absl::Seconds(5));
  tally.Measure(true);
  const absl::Time begun = MonotonicNow();
  absl::SleepFor(options.time);
  tally.Measure(false);
  CrowdFigures figures = tally.figures();
  figures.seconds = absl::ToDoubleSeconds(MonotonicNow() - begun);
  tally.Stop();
  finish();
  while (tally.under_way() > 0) absl::SleepFor(absl::Milliseconds(10));
  crowd.clear();
  figures.failures = tally.figures().failures;
  for (auto* times : {&figures.lease_ms, &figures.renew_ms, &figures.submit_ms})
    std::sort(times->begin(), times->end());
  return figures;
}

}  // namespace flowawr
