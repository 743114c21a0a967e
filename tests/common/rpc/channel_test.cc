#include "common/rpc/channel.h"

#include <string>

#include "common/rpc/server.h"
#include "common/rpc/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/common/rpc/test_service.h"
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
