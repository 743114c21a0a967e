// The PolicyStore service over real gRPC.
#include "learner/policy_service.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/rpc/blob_stream.h"
#include "common/rpc/channel.h"
#include "common/rpc/server.h"
#include "common/rpc/status.h"
#include "learner/request_limits.h"
#include "tests/learner/small_run.h"

namespace flowawr {
namespace {

class PolicyServiceTest : public testing::Test {
 protected:
  PolicyServiceTest() : service_(&desk_.policies, &desk_.leases, &desk_.fan_out, &idle_) {
    auto server = RpcServer::Start({.listen = "127.0.0.1:0"}, {&service_});
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = std::move(server).value();
    stub_ = v1::PolicyStore::NewStub(MakeChannel(server_->endpoint(), v1::NetworkConfig()).value());
  }
  ~PolicyServiceTest() override {
    desk_.Stop();
    server_->Shutdown(absl::ZeroDuration());
  }

  v1::PolicyVersion Publish(uint64_t seed, v1::PolicyRole role = v1::BEHAVIOUR_POLICY) {
    const auto stored = desk_.policies.Publish(SmallAdapter(seed), role, 0);
    EXPECT_TRUE(stored.ok()) << stored.status();
    return (*stored)->header.policy();
  }

  void Join() {
    ASSERT_TRUE(desk_.leases.Claim("a", "mine").ok());
    desk_.leases.Register("a", /*has_model=*/true);
  }

  static std::unique_ptr<grpc::ClientContext> Context() { return MakeContext(absl::Minutes(1), v1::NetworkConfig()); }

  SmallDesk desk_;
  IdleWatch idle_{absl::Milliseconds(500)};
  PolicyService service_;
  std::unique_ptr<RpcServer> server_;
  std::unique_ptr<v1::PolicyStore::Stub> stub_;
};

TEST_F(PolicyServiceTest, AWatchTellsTheNewestBehaviourVersionAndEveryLaterOneUntilTheDeskStops) {
  Publish(1);
  Publish(2);
  Publish(3, v1::AVERAGE_POLICY);
  const auto context = Context();
  const auto stream = stub_->WatchPolicy(context.get(), {});
  v1::PolicyVersion version;
  ASSERT_TRUE(stream->Read(&version));
  EXPECT_EQ(version.version(), 2u);
  Publish(4);
  ASSERT_TRUE(stream->Read(&version));
  EXPECT_EQ(version.version(), 4u);
  desk_.Stop(/*is_run_finished=*/true);
  EXPECT_FALSE(stream->Read(&version));
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(PolicyServiceTest, AWatchWaitsForTheFirstVersion) {
  const auto context = Context();
  const auto stream = stub_->WatchPolicy(context.get(), {});
  Publish(1);
  v1::PolicyVersion version;
  ASSERT_TRUE(stream->Read(&version));
  EXPECT_EQ(version.version(), 1u);
}

TEST_F(PolicyServiceTest, GivesTheBytesThatWerePublished) {
  const v1::PolicyVersion policy = Publish(1);
  v1::FetchPolicyRequest request;
  request.set_version(policy.version());
  const auto context = Context();
  const auto stream = stub_->FetchPolicy(context.get(), request);
  v1::FetchPolicyResponse part;
  ASSERT_TRUE(stream->Read(&part));
  ASSERT_TRUE(part.has_header());
  EXPECT_EQ(part.header().policy().SerializeAsString(), policy.SerializeAsString());
  EXPECT_EQ(part.header().rank(), 2);
  EXPECT_EQ(part.header().alpha(), 4);
  EXPECT_EQ(part.header().blob().sha256(), policy.sha256());
  auto blob = BlobAssembler::Create(part.header().blob(), 1 << 20);
  ASSERT_TRUE(blob.ok()) << blob.status();
  while (stream->Read(&part)) ASSERT_TRUE(blob->Add(part.chunk()).ok());
  ASSERT_TRUE(stream->Finish().ok());
  const auto bytes = blob->Finish();
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  EXPECT_EQ(*bytes, SmallAdapter(1).SerializePeft().value());
}

TEST_F(PolicyServiceTest, SaysThatAVersionIsNotKept) {
  v1::FetchPolicyRequest request;
  request.set_version(7);
  const auto context = Context();
  const auto stream = stub_->FetchPolicy(context.get(), request);
  v1::FetchPolicyResponse part;
  EXPECT_FALSE(stream->Read(&part));
  EXPECT_EQ(FromGrpc(stream->Finish()).code(), absl::StatusCode::kNotFound);
}

TEST_F(PolicyServiceTest, RefusesAFalseProofOfDelivery) {
  const v1::PolicyVersion policy = Publish(1);
  Join();
  v1::ReportAdoptionRequest request;
  request.set_actor_id("a");
  request.set_session("mine");
  request.set_version(policy.version());
  request.set_sha256(policy.sha256());
  const auto report = [&] {
    v1::ReportAdoptionResponse response;
    return FromGrpc(stub_->ReportAdoption(Context().get(), request, &response));
  };
  EXPECT_EQ(report().code(), absl::StatusCode::kFailedPrecondition);  // no module bound
  request.set_bound_modules(policy.modules());
  EXPECT_TRUE(report().ok());
  request.set_sha256("other");
  EXPECT_EQ(report().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(PolicyServiceTest, TakesAProofOfDeliveryFromTheActorsSessionOnly) {
  const v1::PolicyVersion policy = Publish(1);
  Join();
  v1::ReportAdoptionRequest request;
  request.set_version(policy.version());
  request.set_sha256(policy.sha256());
  request.set_bound_modules(policy.modules());
  const auto report = [&](const std::string& actor_id, const std::string& session) {
    request.set_actor_id(actor_id);
    request.set_session(session);
    v1::ReportAdoptionResponse response;
    return FromGrpc(stub_->ReportAdoption(Context().get(), request, &response)).code();
  };
  EXPECT_EQ(report("a", "another's"), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(report("a", ""), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(report("stranger", "mine"), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(report(std::string(kMaxActorIdBytes + 1, 'a'), "mine"), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(desk_.board.status().actors(0).adopted_version(), 0u);
  EXPECT_EQ(report("a", "mine"), absl::StatusCode::kOk);
  EXPECT_EQ(desk_.board.status().actors(0).adopted_version(), policy.version());
}

// The first part of the answer, and how the call ended.
struct Answer {
  v1::FetchPolicyResponse part;
  absl::Status end;
};

class FanOutServiceTest : public PolicyServiceTest {
 protected:
  FanOutServiceTest() : policy_(Publish(1)) {
    for (int i = 0; i < 2 * kCopies; ++i) {
      const std::string actor = absl::StrCat("a", i);
      EXPECT_TRUE(desk_.leases.Claim(actor, "mine").ok());
      desk_.leases.Register(actor, /*has_model=*/true);
      desk_.fan_out.Join(actor, absl::StrCat("127.0.0.1:", i + 1));
    }
  }

  Answer Ask(const std::string& actor, bool accepts_peer = true, const std::string& session = "mine",
             const std::vector<std::string>& failed = {}) {
    v1::FetchPolicyRequest request;
    request.set_actor_id(actor);
    request.set_session(session);
    request.set_version(policy_.version());
    request.set_accepts_peer(accepts_peer);
    request.mutable_failed_peers()->Add(failed.begin(), failed.end());
    const auto context = Context();
    const auto stream = stub_->FetchPolicy(context.get(), request);
    Answer answer;
    stream->Read(&answer.part);
    for (v1::FetchPolicyResponse rest; stream->Read(&rest);) {
    }
    answer.end = FromGrpc(stream->Finish());
    return answer;
  }

  void Adopt(const std::string& actor) {
    v1::ReportAdoptionRequest request;
    request.set_actor_id(actor);
    request.set_session("mine");
    request.set_version(policy_.version());
    request.set_sha256(policy_.sha256());
    request.set_bound_modules(policy_.modules());
    v1::ReportAdoptionResponse response;
    EXPECT_TRUE(stub_->ReportAdoption(Context().get(), request, &response).ok());
  }

  const v1::PolicyVersion policy_;
};

TEST_F(FanOutServiceTest, SendsAFewCopiesAndThenNamesThoseThatHaveIt) {
  for (int i = 0; i < kCopies; ++i) {
    const Answer answer = Ask(absl::StrCat("a", i));
    ASSERT_TRUE(answer.part.has_header()) << i << ": " << answer.end;
    Adopt(absl::StrCat("a", i));
  }
  const Answer answer = Ask("a15");
  ASSERT_TRUE(answer.part.has_peer()) << answer.end;
  EXPECT_EQ(answer.part.peer().endpoint(), "127.0.0.1:1");
  EXPECT_TRUE(answer.end.ok()) << answer.end;
}

TEST_F(FanOutServiceTest, TellsWhenToAskAgainWhileNobodyHasIt) {
  for (int i = 0; i < kCopiesAtOnce; ++i) ASSERT_TRUE(Ask(absl::StrCat("a", i)).part.has_header());
  const Answer answer = Ask("a15");
  ASSERT_TRUE(answer.part.has_peer()) << answer.end;
  EXPECT_EQ(answer.part.peer().endpoint(), "");
  EXPECT_GT(answer.part.peer().retry_after_s(), 0);
}

TEST_F(FanOutServiceTest, SendsTheCopyToWhoeverDoesNotAcceptAPeer) {
  for (int i = 0; i < 2 * kCopies; ++i) EXPECT_TRUE(Ask("a15", /*accepts_peer=*/false, "").part.has_header());
}

TEST_F(FanOutServiceTest, NamesPeersToRegisteredActorsOnlyAndBoundsWhatTheySay) {
  EXPECT_EQ(Ask("a0", true, "another's").end.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Ask("stranger").end.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Ask("a0", true, "mine", std::vector<std::string>(kMaxFailedPeers + 1, "h:1")).end.code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Ask("a0", true, "mine", {std::string(kMaxEndpointBytes + 1, 'h')}).end.code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace flowawr
