// The Rollout service over real gRPC; what the desk decides is tested in desk_test.cc.
#include "learner/rollout_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "common/rpc/blob_stream.h"
#include "common/rpc/channel.h"
#include "common/rpc/server.h"
#include "common/rpc/status.h"
#include "tests/learner/small_run.h"

namespace flowawr {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

const ComponentFingerprints kModel = {{"transformer", "0123456789abcdef"}, {"vae", "1a2b"}};

class RolloutServiceTest : public testing::Test {
 protected:
  RolloutServiceTest() : service_(Options(), &model_, &desk_.leases, &desk_.fan_out, &idle_) {
    auto server = RpcServer::Start({.listen = "127.0.0.1:0"}, {&service_});
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = std::move(server).value();
    stub_ = v1::Rollout::NewStub(MakeChannel(server_->endpoint(), v1::NetworkConfig()).value());
    EXPECT_TRUE(desk_.policies.Publish(SmallAdapter(1), v1::BEHAVIOUR_POLICY, 0).ok());
  }
  ~RolloutServiceTest() override {
    desk_.Stop();
    server_->Shutdown(absl::ZeroDuration());
  }

  static RolloutService::Options Options() {
    v1::RunConfig config;
    config.set_name("small");
    return {"run-1", config, "avx2", absl::Seconds(2)};
  }

  template <typename Method, typename Request, typename Response>
  absl::Status Call(Method method, const Request& request, Response* response) {
    const auto context = MakeContext(absl::Minutes(1), v1::NetworkConfig());
    return FromGrpc((stub_.get()->*method)(context.get(), request, response));
  }

  absl::StatusOr<v1::RegisterResponse> Register(const std::string& actor, const ComponentFingerprints& model) {
    v1::RegisterRequest request;
    request.set_actor_id(actor);
    request.mutable_model_parts()->insert(model.begin(), model.end());
    v1::RegisterResponse response;
    const absl::Status status = Call(&v1::Rollout::Stub::Register, request, &response);
    if (!status.ok()) return status;
    return response;
  }

  absl::StatusOr<v1::AcquireLeaseResponse> Acquire(const std::string& actor, double wait_s) {
    v1::AcquireLeaseRequest request;
    request.set_actor_id(actor);
    request.set_wait_s(wait_s);
    v1::AcquireLeaseResponse response;
    const absl::Status status = Call(&v1::Rollout::Stub::AcquireLease, request, &response);
    if (!status.ok()) return status;
    return response;
  }

  // A lease of group 0 and the group that a faithful actor makes of it.
  SmallGroup LeaseAndMake() {
    desk_.leases.Offer({SmallLease(0), SmallLease(1)});
    EXPECT_TRUE(Register("a", kModel).ok());
    const auto answer = Acquire("a", 20);
    EXPECT_TRUE(answer.ok()) << answer.status();
    return MakeSmallGroup(answer->lease(), desk_.policies.Find(1)->header.policy(), "a");
  }

  // `parts` as they are, one message each.
  absl::Status Send(const std::vector<v1::SubmitGroupRequest>& parts) {
    const auto context = MakeContext(absl::Minutes(1), v1::NetworkConfig());
    v1::SubmitGroupResponse response;
    const auto stream = stub_->SubmitGroup(context.get(), &response);
    for (const v1::SubmitGroupRequest& part : parts)
      if (!stream->Write(part)) break;
    stream->WritesDone();
    return FromGrpc(stream->Finish());
  }

  // The header, then the blob in two chunks.
  static std::vector<v1::SubmitGroupRequest> Parts(const SmallGroup& group) {
    std::vector<v1::SubmitGroupRequest> parts(3);
    *parts[0].mutable_header() = group.header;
    const size_t half = group.blob.size() / 2;
    parts[1].mutable_chunk()->set_data(group.blob.substr(0, half));
    parts[2].mutable_chunk()->set_offset(half);
    parts[2].mutable_chunk()->set_data(group.blob.substr(half));
    return parts;
  }

  RunModel model_{kModel};
  SmallDesk desk_;
  IdleWatch idle_{absl::Milliseconds(500)};
  RolloutService service_;
  std::unique_ptr<RpcServer> server_;
  std::unique_ptr<v1::Rollout::Stub> stub_;
};

TEST_F(RolloutServiceTest, TellsAnActorWhatItNeedsToSetItselfUp) {
  const auto answer = Register("a", {});
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->run_id(), "run-1");
  EXPECT_EQ(answer->config().name(), "small");
  EXPECT_EQ(answer->heartbeat_s(), 2);
  EXPECT_FALSE(answer->run_finished());
}

TEST_F(RolloutServiceTest, NamesAnActorThatServesOthersByAnAddressThatTheyReach) {
  const auto join = [this](const std::string& actor, const std::string& endpoint) {
    v1::RegisterRequest request;
    request.set_actor_id(actor);
    request.set_peer_endpoint(endpoint);
    v1::RegisterResponse response;
    EXPECT_TRUE(Call(&v1::Rollout::Stub::Register, request, &response).ok());
  };
  const v1::PolicyVersion policy = desk_.policies.Find(1)->header.policy();
  const auto source = [&] {
    v1::FetchPolicyRequest request;
    request.set_actor_id("other");
    request.set_version(policy.version());
    return desk_.fan_out.Choose(request).source;
  };
  join("a", "0.0.0.0:7000");
  for (int i = 0; i < kCopies; ++i) {
    EXPECT_EQ(source().kind, PolicySource::Kind::kLearner);
    desk_.fan_out.Adopted("other", policy);
  }
  desk_.fan_out.Adopted("a", policy);
  EXPECT_EQ(source().endpoint, "127.0.0.1:7000");  // from where it called
  join("a", "10.0.0.7:7000");
  desk_.fan_out.Adopted("a", policy);
  EXPECT_EQ(source().endpoint, "10.0.0.7:7000");
  v1::LeaveRequest leave;
  leave.set_actor_id("a");
  v1::LeaveResponse left;
  EXPECT_TRUE(Call(&v1::Rollout::Stub::Leave, leave, &left).ok());
  EXPECT_EQ(source().kind, PolicySource::Kind::kLearner);  // no other serves
}

TEST_F(RolloutServiceTest, RefusesAnActorWithoutNameOrWithAnotherModel) {
  EXPECT_EQ(Register("", kModel).status().code(), absl::StatusCode::kInvalidArgument);
  ComponentFingerprints another = kModel;
  another["vae"] = "3c4d";
  const absl::Status other = Register("a", another).status();
  EXPECT_EQ(other.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(other.message()),
              HasSubstr("actor a has another model than the run: vae differs (actor \"3c4d\", learner \"1a2b\")"));
  EXPECT_EQ(Acquire("a", 20).status().code(), absl::StatusCode::kFailedPrecondition);
}

// Which compared the transformer alone, and would sample with whatever else it has.
TEST_F(RolloutServiceTest, RefusesAnActorOfAnOlderReleaseAndSaysSo) {
  v1::RegisterRequest request;
  request.set_actor_id("a");
  request.set_model_fingerprint(kModel.at("transformer"));
  request.set_software_version("0.0.9");
  v1::RegisterResponse response;
  const absl::Status refused = Call(&v1::Rollout::Stub::Register, request, &response);
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("older release (0.0.9)"));
}

TEST_F(RolloutServiceTest, AnActorThatLeavesIsGoneAtOnce) {
  const SmallGroup group = LeaseAndMake();
  v1::LeaveRequest request;
  request.set_actor_id("a");
  request.set_session("another's");
  v1::LeaveResponse response;
  EXPECT_EQ(Call(&v1::Rollout::Stub::Leave, request, &response).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(desk_.board.status().actors_size(), 1);
  request.clear_session();
  EXPECT_TRUE(Call(&v1::Rollout::Stub::Leave, request, &response).ok());
  EXPECT_EQ(desk_.board.status().actors_size(), 0);
  EXPECT_EQ(desk_.board.status().open_leases(), 0u);
  ASSERT_TRUE(Register("b", kModel).ok());
  EXPECT_EQ(Acquire("b", 20)->lease().attempt(), 2u);
}

TEST_F(RolloutServiceTest, LeasesOnlyToActorsThatRegisteredWithTheRunsModel) {
  desk_.leases.Offer({SmallLease(0)});
  EXPECT_EQ(Acquire("a", 20).status().code(), absl::StatusCode::kFailedPrecondition);
  v1::RenewLeasesRequest renew;
  renew.set_actor_id("a");
  v1::RenewLeasesResponse renewed;
  EXPECT_EQ(Call(&v1::Rollout::Stub::RenewLeases, renew, &renewed).code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(Register("a", {}).ok());
  EXPECT_EQ(Acquire("a", 20).status().code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(Register("a", kModel).ok());
  EXPECT_TRUE(Acquire("a", 20)->has_lease());
}

TEST_F(RolloutServiceTest, AnswersEmptyWhenThereIsNothingToDo) {
  ASSERT_TRUE(Register("a", kModel).ok());
  for (const double wait_s : {0.0, -5.0}) {
    const auto answer = Acquire("a", wait_s);
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_FALSE(answer->has_lease());
    EXPECT_FALSE(answer->run_finished());
  }
}

TEST_F(RolloutServiceTest, HeartbeatsTellWhichLeasesAreLost) {
  const SmallGroup group = LeaseAndMake();
  v1::RenewLeasesRequest request;
  request.set_actor_id("a");
  *request.add_leases() = group.header.lease();
  v1::RenewLeasesResponse response;
  ASSERT_TRUE(Call(&v1::Rollout::Stub::RenewLeases, request, &response).ok());
  EXPECT_EQ(response.dropped_size(), 0);
  ASSERT_TRUE(Register("a", kModel).ok());  // holds nothing any more
  ASSERT_TRUE(Call(&v1::Rollout::Stub::RenewLeases, request, &response).ok());
  EXPECT_EQ(response.dropped_size(), 1);
}

TEST_F(RolloutServiceTest, TakesALeaseBack) {
  const SmallGroup group = LeaseAndMake();
  v1::FailLeaseRequest request;
  request.set_actor_id("a");
  *request.mutable_lease() = group.header.lease();
  request.set_cause("actor_stopping");
  request.set_is_handed_back(true);
  v1::FailLeaseResponse response;
  EXPECT_TRUE(Call(&v1::Rollout::Stub::FailLease, request, &response).ok());
  EXPECT_EQ(Call(&v1::Rollout::Stub::FailLease, request, &response).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Acquire("a", 20)->lease().attempt(), 2u);
}

TEST_F(RolloutServiceTest, TakesAGroupInChunksOnce) {
  const SmallGroup group = LeaseAndMake();
  const absl::Status status = Send(Parts(group));
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(desk_.board.status().groups_accepted(), 1u);
  EXPECT_EQ(Send(Parts(group)).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(desk_.board.status().groups_accepted(), 1u);
}

TEST_F(RolloutServiceTest, RefusesStreamsThatAreNotAHeaderAndItsChunks) {
  const SmallGroup group = LeaseAndMake();
  auto parts = Parts(group);
  EXPECT_EQ(Send({}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Send({parts[1], parts[2]}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Send({parts[0], parts[1], parts[0]}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Send({parts[0], parts[1]}).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Send({parts[0], parts[2], parts[1]}).code(), absl::StatusCode::kFailedPrecondition);
  (*parts[1].mutable_chunk()->mutable_data())[0] ^= 1;
  const absl::Status damaged = Send(parts);
  EXPECT_EQ(damaged.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(damaged.message()), HasSubstr("group 0"));
  EXPECT_THAT(desk_.leases.dropped(), ElementsAre(Pair("broken_stream", 4), Pair("malformed", 2)));
  EXPECT_TRUE(Send(Parts(group)).ok());  // the lease is as good as before
}

TEST_F(RolloutServiceTest, RefusesByTheHeaderBeforeTheBlobComes) {
  SmallGroup group = LeaseAndMake();
  group.header.mutable_blob()->set_size(uint64_t{1} << 40);
  v1::SubmitGroupRequest header;
  *header.mutable_header() = group.header;
  EXPECT_EQ(Send({header}).code(), absl::StatusCode::kInvalidArgument);
  header.mutable_header()->mutable_lease()->set_group_id(99);
  EXPECT_EQ(Send({header}).code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(desk_.leases.dropped(), ElementsAre(Pair("too_large", 1), Pair("unknown_lease", 1)));
}

TEST_F(RolloutServiceTest, EndsAStreamOnWhichNothingComes) {
  const SmallGroup group = LeaseAndMake();
  const auto context = MakeContext(absl::Minutes(1), v1::NetworkConfig());
  v1::SubmitGroupResponse response;
  const auto silent = stub_->SubmitGroup(context.get(), &response);
  EXPECT_EQ(FromGrpc(silent->Finish()).code(), absl::StatusCode::kCancelled);
  const auto other_context = MakeContext(absl::Minutes(1), v1::NetworkConfig());
  const auto half = stub_->SubmitGroup(other_context.get(), &response);
  ASSERT_TRUE(half->Write(Parts(group)[0]));
  EXPECT_EQ(FromGrpc(half->Finish()).code(), absl::StatusCode::kCancelled);
  EXPECT_TRUE(Send(Parts(group)).ok());
}

TEST_F(RolloutServiceTest, TakesOnlyAFewGroupsOfAnActorAtOnce) {
  const SmallGroup group = LeaseAndMake();
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientWriter<v1::SubmitGroupRequest>>> streams;
  v1::SubmitGroupResponse response;
  absl::Status refused;
  for (int i = 0; i < 5; ++i) {
    contexts.push_back(MakeContext(absl::Minutes(1), v1::NetworkConfig()));
    streams.push_back(stub_->SubmitGroup(contexts.back().get(), &response));
    ASSERT_TRUE(streams.back()->Write(Parts(group)[0]));
  }
  int exhausted = 0;
  for (const auto& stream : streams) exhausted += absl::IsResourceExhausted(FromGrpc(stream->Finish()));
  EXPECT_EQ(exhausted, 1);
  EXPECT_TRUE(Send(Parts(group)).ok());  // the others have ended: there is room again
}

TEST_F(RolloutServiceTest, AWaitThatIsGivenUpTakesNoLease) {
  ASSERT_TRUE(Register("a", kModel).ok());
  ASSERT_TRUE(Register("b", kModel).ok());
  v1::AcquireLeaseRequest request;
  request.set_actor_id("a");
  request.set_wait_s(30);
  v1::AcquireLeaseResponse response;
  for (int i = 0; i < LeaseDesk::kMaxWaitsOfAnActor; ++i) {
    const auto context = MakeContext(absl::Milliseconds(20), v1::NetworkConfig());
    EXPECT_EQ(stub_->AcquireLease(context.get(), request, &response).error_code(),
              grpc::StatusCode::DEADLINE_EXCEEDED);
  }
  while (absl::IsResourceExhausted(Acquire("a", .001).status())) {  // until the desk knows that they have gone
  }
  desk_.leases.Offer({SmallLease(0)});
  EXPECT_EQ(Acquire("b", 20)->lease().attempt(), 1u);
}

TEST_F(RolloutServiceTest, TellsThatTheRunHasFinished) {
  ASSERT_TRUE(Register("a", kModel).ok());
  desk_.leases.Stop(/*is_run_finished=*/true);
  EXPECT_TRUE(Acquire("a", 20)->run_finished());
  EXPECT_TRUE(Register("a", {})->run_finished());
  EXPECT_TRUE(Register("b", kModel)->run_finished());
}

}  // namespace
}  // namespace flowawr
