#include "common/rpc/call_counts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "common/rpc/channel.h"
#include "common/rpc/server.h"
#include "tests/common/rpc/test_service.h"

namespace flowawr {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(30);

CallCounts Of(bool is_server, const std::string& method) {
  for (CallCounts& counts : CountedCalls())
    if (counts.is_server == is_server && counts.method == method) return std::move(counts);
  return {};
}

uint64_t Ended(const CallCounts& counts, const std::string& code) {
  for (const CallCounts::Ended& ended : counts.ended)
    if (ended.code == code) return ended.calls;
  return 0;
}

// Counts are the process's, so that differences are looked at.
class CallCountsTest : public ::testing::Test {
 protected:
  CallCountsTest() {
    network_.set_max_message_mib(1);
    server_ = RpcServer::Start({.listen = "127.0.0.1:0", .network = network_}, {&service_}).value();
  }
  grpc::StatusCode Score(size_t bytes) {
    v1::NetworkConfig large = network_;
    large.set_max_message_mib(8);
    v1::ScoreRequest request;
    request.add_items()->set_image_rgb(std::string(bytes, 'x'));
    request_bytes_ = request.ByteSizeLong();
    v1::ScoreResponse response;
    const auto context = MakeContext(kPatience, network_);
    return v1::RewardService::NewStub(MakeChannel(server_->endpoint(), large).value())
        ->Score(context.get(), request, &response)
        .error_code();
  }

  TestService service_;
  v1::NetworkConfig network_;
  std::unique_ptr<RpcServer> server_;
  size_t request_bytes_ = 0;
};

TEST_F(CallCountsTest, CountsCallsAndBytesOnBothSides) {
  v1::ListScorersResponse response;
  const auto stub = v1::RewardService::NewStub(MakeChannel(server_->endpoint(), network_).value());
  for (int i = 0; i < 3; ++i) {
    const auto context = MakeContext(kPatience, network_);
    ASSERT_TRUE(stub->ListScorers(context.get(), {}, &response).ok());
  }
  EXPECT_EQ(Ended(Of(true, "RewardService/ListScorers"), "OK"), 3u);
  EXPECT_EQ(Ended(Of(false, "RewardService/ListScorers"), "OK"), 3u);
  EXPECT_EQ(Of(true, "RewardService/ListScorers").sent_bytes, 3 * response.ByteSizeLong());
  EXPECT_EQ(Of(false, "RewardService/ListScorers").received_bytes, 3 * response.ByteSizeLong());
}

TEST_F(CallCountsTest, CountsAtItsClientWhatAServerRefusesUnread) {
  const CallCounts before = Of(true, "RewardService/Score"), sent_before = Of(false, "RewardService/Score");
  EXPECT_EQ(Score(2 << 20), grpc::StatusCode::RESOURCE_EXHAUSTED);
  server_->Shutdown(absl::ZeroDuration());  // until then the server may still be at it
  const CallCounts after = Of(true, "RewardService/Score"), sent_after = Of(false, "RewardService/Score");
  EXPECT_EQ(after.received_bytes, before.received_bytes);
  EXPECT_EQ(sent_after.sent_bytes - sent_before.sent_bytes, request_bytes_);
  EXPECT_EQ(Ended(sent_after, "RESOURCE_EXHAUSTED"), Ended(sent_before, "RESOURCE_EXHAUSTED") + 1);
  EXPECT_EQ(Ended(after, "OK"), Ended(before, "OK"));
}

}  // namespace
}  // namespace flowawr
