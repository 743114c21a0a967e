// Many actors at once, over real gRPC: what waits holds no thread, and the learner answers whoever else asks.
//
// The crowd is made by this process, too, through the callback API: each of its actors has a connection of its own, on
// which it waits for a lease and watches for a policy.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdio>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/blocking_counter.h"
#include "absl/time/clock.h"
#include "common/base/clock.h"
#include "common/rpc/server.h"
#include "common/rpc/status.h"
#include "flowawr/v1/control.grpc.pb.h"
#include "grpcpp/create_channel.h"
#include "learner/control_service.h"
#include "learner/policy_service.h"
#include "learner/rollout_service.h"
#include "tests/learner/small_run.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

constexpr char kFingerprint[] = "0123456789abcdef";
constexpr absl::Duration kPatience = absl::Minutes(2);

// Of this process, crowd included.
int Threads() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;)
    if (int threads = 0; word == "Threads:" && status >> threads) return threads;
  return 0;
}

std::shared_ptr<grpc::Channel> Connect(const std::string& endpoint) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // a connection of its own
  return grpc::CreateCustomChannel(endpoint, grpc::InsecureChannelCredentials(), arguments);
}

// An actor of the crowd: registers, then watches for policies and waits for leases until the desk stops.
class Waiter : public grpc::ClientReadReactor<v1::PolicyVersion> {
 public:
  Waiter(const std::string& endpoint, std::string name) : name_(std::move(name)) {
    const auto channel = Connect(endpoint);
    rollout_ = v1::Rollout::NewStub(channel);
    policies_ = v1::PolicyStore::NewStub(channel);
  }

  void Start(absl::BlockingCounter* registered, absl::BlockingCounter* told, absl::BlockingCounter* leased) {
    told_ = told;
    leased_ = leased;
    register_request_.set_actor_id(name_);
    (*register_request_.mutable_model_parts())["transformer"] = kFingerprint;
    register_context_.set_deadline(absl::ToChronoTime(absl::Now() + kPatience));
    rollout_->async()->Register(&register_context_, &register_request_, &registered_, [=, this](grpc::Status status) {
      EXPECT_TRUE(status.ok()) << status.error_message();
      policies_->async()->WatchPolicy(&watch_context_, &watch_request_, this);
      StartRead(&policy_);
      StartCall();
      acquire_request_.set_actor_id(name_);
      acquire_request_.set_wait_s(30);
      Acquire();
      registered->DecrementCount();
    });
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    ++versions_;
    told_->DecrementCount();
    StartRead(&policy_);
  }
  void OnDone(const grpc::Status& status) override {
    EXPECT_TRUE(status.ok()) << status.error_message();
    done_.DecrementCount();
  }
  // Until both calls have ended.
  void Join() { done_.Wait(); }
  int versions() const { return versions_; }

 private:
  void Acquire() {
    acquire_context_ = std::make_unique<grpc::ClientContext>();
    answer_.Clear();
    rollout_->async()->AcquireLease(acquire_context_.get(), &acquire_request_, &answer_, [this](grpc::Status status) {
      EXPECT_TRUE(status.ok()) << status.error_message();
      if (status.ok() && !answer_.has_lease() && !answer_.run_finished()) return Acquire();
      if (answer_.has_lease()) leased_->DecrementCount();
      done_.DecrementCount();
    });
  }

  const std::string name_;
  std::unique_ptr<v1::Rollout::Stub> rollout_;
  std::unique_ptr<v1::PolicyStore::Stub> policies_;
  absl::BlockingCounter* told_ = nullptr;
  absl::BlockingCounter* leased_ = nullptr;
  absl::BlockingCounter done_{2};
  grpc::ClientContext register_context_, watch_context_;
  std::unique_ptr<grpc::ClientContext> acquire_context_;
  v1::RegisterRequest register_request_;
  v1::RegisterResponse registered_;
  v1::WatchPolicyRequest watch_request_;
  v1::PolicyVersion policy_;
  v1::AcquireLeaseRequest acquire_request_;
  v1::AcquireLeaseResponse answer_;
  std::atomic<int> versions_ = 0;
};

class CrowdTest : public testing::Test {
 protected:
  CrowdTest() {
    auto server = RpcServer::Start({.listen = "127.0.0.1:0", .max_threads = 16}, {&rollout_, &policies_, &control_});
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = std::move(server).value();
    EXPECT_TRUE(desk_.policies.Publish(SmallAdapter(1), v1::BEHAVIOUR_POLICY, 0).ok());
  }

  // As `flowawr status` asks; how long it took.
  absl::Duration AskForStatus(size_t actors) {
    const auto control = v1::Control::NewStub(Connect(server_->endpoint()));
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(10)));
    const absl::Time begun = MonotonicNow();
    v1::Status status;
    const grpc::Status answer = control->GetStatus(&context, {}, &status);
    EXPECT_TRUE(answer.ok()) << answer.error_message();
    EXPECT_EQ(status.actors_size(), actors);
    return MonotonicNow() - begun;
  }

  void Crowd(int actors) {
    std::vector<std::unique_ptr<Waiter>> crowd;
    absl::BlockingCounter registered(actors), told(2 * actors), leased(actors / 2);
    for (int i = 0; i < actors; ++i)
      crowd.push_back(std::make_unique<Waiter>(server_->endpoint(), absl::StrCat("a", i)));
    for (const auto& actor : crowd) actor->Start(&registered, &told, &leased);
    registered.Wait();
    RecordProperty("threads", Threads());
    EXPECT_LT(Threads(), 60);
    const absl::Duration waiting = AskForStatus(actors);
    // Half of them get a lease, all of them hear of a version, while the status is asked for.
    std::vector<v1::Lease> leases;
    for (int i = 0; i < actors / 2; ++i) leases.push_back(SmallLease(i));
    EXPECT_TRUE(desk_.policies.Publish(SmallAdapter(2), v1::BEHAVIOUR_POLICY, 1).ok());
    desk_.leases.Offer(std::move(leases));
    const absl::Duration busy = AskForStatus(actors);
    leased.Wait();
    told.Wait();
    EXPECT_LT(Threads(), 60);
    const absl::Time begun = MonotonicNow();
    desk_.Stop(/*is_run_finished=*/true);
    for (const auto& actor : crowd) actor->Join();
    const absl::Duration end = MonotonicNow() - begun;
    for (const auto& actor : crowd) EXPECT_EQ(actor->versions(), 2);
    std::printf("%d actors, %d threads; status while all wait %.1f ms, while all are told %.1f ms; end in %.0f ms\n",
                actors, Threads(), absl::ToDoubleMilliseconds(waiting), absl::ToDoubleMilliseconds(busy),
                absl::ToDoubleMilliseconds(end));
    crowd.clear();
    server_->Shutdown(absl::Seconds(2));
  }

  RunLoop::Parts Parts() {
    v1::RunConfig config;
    config.set_run_dir(folder_ / "run");
    PromptSet prompts = PromptSet::Load(folder_.Write("prompts.txt", "a sign\n")).value();
    return {.config = std::move(config),
            .train_prompts = std::move(prompts),
            .roles = PolicyRoles::Initialise(SmallLayout(), 1),
            .directory = directory_.get(),
            .leases = &desk_.leases,
            .policies = &desk_.policies,
            .board = &desk_.board};
  }

  TempFolder folder_;
  std::unique_ptr<RunDirectory> directory_ = RunDirectory::Open(folder_ / "run").value();
  IdleWatch idle_{absl::Seconds(30)};
  SmallDesk desk_;
  RunLoop loop_{Parts()};
  RunModel model_{{{"transformer", kFingerprint}}};
  RolloutService rollout_{{"run-1", v1::RunConfig(), "", absl::Seconds(2)}, &model_, &desk_.leases, &desk_.fan_out,
                          &idle_};
  PolicyService policies_{&desk_.policies, &desk_.leases, &desk_.fan_out, &idle_};
  ControlService control_{&desk_.board, &loop_, &idle_, [] {}};
  std::unique_ptr<RpcServer> server_;
};

TEST_F(CrowdTest, TwoThousandActorsWaitWithoutThreadsAndTheStatusIsAnswered) { Crowd(2000); }

}  // namespace
}  // namespace flowawr
