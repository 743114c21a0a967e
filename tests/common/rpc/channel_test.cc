#include "common/rpc/channel.h"

#include <string>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "common/base/host_port.h"
#include "common/rpc/server.h"
#include "common/rpc/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/common/rpc/test_service.h"
#include "tests/testing/certificate.h"
#include "tests/testing/slow_proxy.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;

TEST(MakeChannel, NamesAnAddressThatIsNoGood) {
  EXPECT_THAT(std::string(MakeChannel("learner", {}).status().message()), HasSubstr("\"learner\""));
  EXPECT_THAT(std::string(MakeChannel("127.0.0.1:0", {}).status().message()), HasSubstr("real port"));
}

TEST(MakeChannel, NamesAFileThatIsMissing) {
  v1::NetworkConfig network;
  network.set_tls_ca("no/such/ca.pem");
  const absl::Status status = MakeChannel("127.0.0.1:1", network).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("network.tls_ca: opening no/such/ca.pem"));
}

TEST(MakeChannel, SendsNoTokenUnencryptedThroughANetwork) {
  const TempFolder folder;
  v1::NetworkConfig network;
  network.set_token_file(folder.Write("token", "0123456789abcdef0123"));
  EXPECT_EQ(MakeChannel("10.1.2.3:50051", network).status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_TRUE(MakeChannel("127.0.0.1:50051", network).ok());
  network.set_insecure(true);
  EXPECT_TRUE(MakeChannel("10.1.2.3:50051", network).ok());
}

TEST(MakeChannel, ReconnectsToAServerThatCameBack) {
  TestService service;
  auto server = RpcServer::Start({.listen = "127.0.0.1:0", .network = {}}, {&service});
  ASSERT_TRUE(server.ok()) << server.status();
  const std::string endpoint = (*server)->endpoint();
  const auto stub = v1::RewardService::NewStub(MakeChannel(endpoint, {}).value());
  v1::ListScorersResponse response;
  ASSERT_TRUE(stub->ListScorers(MakeContext(absl::Seconds(30), {}).get(), {}, &response).ok());
  server->reset();
  EXPECT_EQ(stub->ListScorers(MakeContext(absl::Seconds(30), {}).get(), {}, &response).error_code(),
            grpc::StatusCode::UNAVAILABLE);

  server = RpcServer::Start({.listen = endpoint, .network = {}}, {&service});
  ASSERT_TRUE(server.ok()) << server.status();
  const auto context = MakeContext(absl::Seconds(30), {});
  context->set_wait_for_ready(true);
  EXPECT_EQ(FromGrpc(stub->ListScorers(context.get(), {}, &response)), absl::OkStatus());
}

// As an actor or a scoring client does: calls that fail at once, with pauses in which it waits for something else.
absl::Status TryUntilAnswered(v1::RewardService::Stub& stub, absl::Duration limit) {
  const absl::Notification something_else;
  const absl::Time until = absl::Now() + limit;
  while (true) {
    v1::ListScorersResponse response;
    const absl::Status status =
        FromGrpc(stub.ListScorers(MakeContext(absl::Seconds(10), {}).get(), {}, &response));
    if (status.ok() || absl::Now() >= until) return status;
    something_else.WaitForNotificationWithTimeout(absl::Milliseconds(200));
  }
}

class MakeChannelWithTls : public ::testing::Test {
 protected:
  MakeChannelWithTls() {
    const Certificate certificate = MakeCertificate(folder_, "server");
    network_.set_tls_cert(certificate.cert);
    network_.set_tls_key(certificate.key);
    network_.set_tls_ca(certificate.cert);
  }

  std::unique_ptr<RpcServer> Start(const std::string& listen) {
    auto server = RpcServer::Start({.listen = listen, .network = network_}, {&service_});
    EXPECT_TRUE(server.ok()) << server.status();
    return std::move(server).value();
  }

  std::unique_ptr<v1::RewardService::Stub> Connect(const std::string& endpoint) {
    return v1::RewardService::NewStub(MakeChannel(endpoint, network_).value());
  }

  const TempFolder folder_;
  TestService service_;
  v1::NetworkConfig network_;
};

TEST_F(MakeChannelWithTls, FindsAServerThatStartsAfterTheFirstCallsAndOneThatComesBack) {
  std::unique_ptr<RpcServer> server = Start("127.0.0.1:0");
  const std::string endpoint = server->endpoint();
  server.reset();
  const auto stub = Connect(endpoint);
  for (int round = 0; round < 2; ++round) {
    EXPECT_TRUE(absl::IsUnavailable(TryUntilAnswered(*stub, absl::Seconds(3))));
    server = Start(endpoint);
    EXPECT_EQ(TryUntilAnswered(*stub, absl::Minutes(1)), absl::OkStatus()) << "round " << round;
    server.reset();
  }
}

TEST_F(MakeChannelWithTls, WaitsForASlowHandshake) {
  const std::unique_ptr<RpcServer> server = Start("127.0.0.1:0");
  const SlowProxy proxy(ParseHostPort(server->endpoint())->port, absl::Milliseconds(900));
  // A handshake is several round trips.
  EXPECT_EQ(TryUntilAnswered(*Connect(proxy.endpoint()), absl::Minutes(1)), absl::OkStatus());
}

// An editor writes it anew, a disk is full: what a file holds for a moment is not what it is meant to hold.
TEST(MakeContext, SendsTheTokenThatAFileHeldLastWhileItHoldsNone) {
  const TempFolder folder;
  v1::NetworkConfig network, client;
  network.set_token_file(folder.Write("server", "0123456789abcdef0123\nfedcba98765432100000\n"));
  client.set_token_file(folder.Write("client", "0123456789abcdef0123"));
  TestService service;
  const auto server = RpcServer::Start({.listen = "127.0.0.1:0", .network = network}, {&service});
  ASSERT_TRUE(server.ok()) << server.status();
  const auto stub = v1::RewardService::NewStub(MakeChannel((*server)->endpoint(), client).value());
  const auto call = [&] {
    v1::ListScorersResponse response;
    return FromGrpc(stub->ListScorers(MakeContext(absl::Seconds(30), client).get(), {}, &response));
  };
  EXPECT_EQ(call(), absl::OkStatus());
  for (const char* half : {"", "0123456"}) {
    folder.Write("client", half);
    EXPECT_EQ(call(), absl::OkStatus()) << half;
    EXPECT_TRUE(MakeChannel((*server)->endpoint(), client).ok());
  }
  folder.Write("client", "a-token-that-no-server-knows");
  EXPECT_EQ(call().code(), absl::StatusCode::kUnauthenticated) << "a whole one is taken at once";
  folder.Write("client", "fedcba98765432100000");
  EXPECT_EQ(call(), absl::OkStatus());
}

TEST(MakeContext, EndsACallAtItsDeadline) {
  TestService service;
  auto server = RpcServer::Start({.listen = "127.0.0.1:0", .network = {}}, {&service});
  ASSERT_TRUE(server.ok()) << server.status();
  const auto stub = v1::RewardService::NewStub(MakeChannel((*server)->endpoint(), {}).value());
  v1::UnloadScorerResponse response;
  EXPECT_EQ(stub->UnloadScorer(MakeContext(absl::Milliseconds(50), {}).get(), {}, &response).error_code(),
            grpc::StatusCode::DEADLINE_EXCEEDED);
  service.release.Notify();
}

}  // namespace
}  // namespace flowawr
