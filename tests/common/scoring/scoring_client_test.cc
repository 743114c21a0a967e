#include "common/scoring/scoring_client.h"

#include <algorithm>
#include <functional>
#include <limits>

#include "absl/synchronization/notification.h"
#include "common/rpc/server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/certificate.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::Le;

// A reward server whose answers the test decides; real gRPC, real sockets.
class ScriptedServer : public v1::RewardService::Service {
 public:
  using Script = std::function<grpc::Status(int call, const v1::ScoreRequest&, v1::ScoreResponse&)>;

  explicit ScriptedServer(Script script, const std::string& listen = "127.0.0.1:0") : script_(std::move(script)) {
    v1::NetworkConfig network;
    network.set_max_message_mib(16);
    auto server = RpcServer::Start({.listen = listen, .network = network}, {this});
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  ~ScriptedServer() override { server_.reset(); }

  grpc::Status Score(grpc::ServerContext*, const v1::ScoreRequest* request, v1::ScoreResponse* response) override {
    int call = 0;
    {
      absl::MutexLock lock(&mutex_);
      call = static_cast<int>(items_per_call_.size());
      items_per_call_.push_back(request->items_size());
    }
    return script_(call, *request, *response);
  }

  std::string endpoint() const { return server_->endpoint(); }
  std::vector<int> items_per_call() {
    absl::MutexLock lock(&mutex_);
    return items_per_call_;
  }

 private:
  const Script script_;
  std::unique_ptr<RpcServer> server_;
  absl::Mutex mutex_;
  std::vector<int> items_per_call_ ABSL_GUARDED_BY(mutex_);
};

// The reward of an image is its first byte.
grpc::Status FirstByte(int, const v1::ScoreRequest& request, v1::ScoreResponse& response) {
  for (const v1::ScoreItem& item : request.items())
    response.add_results()->set_reward(static_cast<uint8_t>(item.image_rgb()[0]));
  return grpc::Status::OK;
}

std::vector<Image> Images(int count) {
  std::vector<Image> images;
  for (int i = 0; i < count; ++i) images.push_back({2, 3, std::string(18, static_cast<char>(i))});
  return images;
}

v1::RewardSpec Spec(std::vector<std::string> endpoints, double timeout_s = 30) {
  v1::RewardSpec spec;
  for (const std::string& endpoint : endpoints) {
    v1::RewardSpecTerm& term = *spec.add_terms();
    term.set_scorer("s");
    term.set_endpoint(endpoint);
    term.set_is_required(true);
    term.set_timeout_s(timeout_s);
  }
  return spec;
}

ScoringOptions Quick() {
  ScoringOptions options;
  options.retry = {.max_attempts = 4, .initial = absl::Milliseconds(1), .max = absl::Milliseconds(2)};
  options.breaker = {
      .failures_to_open = 3, .initial_pause = absl::Milliseconds(5), .max_pause = absl::Milliseconds(20)};
  return options;
}

TEST(ScoringClientTest, GivesEveryImageItsRewardOfEveryTerm) {
  ScriptedServer first(FirstByte), second([](int call, const auto&request, auto&response) {
    const grpc::Status status = FirstByte(call, request, response);
    for (v1::ScoreResult& result : *response.mutable_results()) result.set_reward(-result.reward());
    return status;
  });
  ScoringOptions options = Quick();
  options.images_per_call = 3;
  ScoringClient client({}, options);
  const v1::RewardSpec spec = Spec({first.endpoint(), second.endpoint()});
  const auto scores = client.Score(spec, {}, Images(10));
  ASSERT_TRUE(scores.ok()) << scores.status();
  ASSERT_EQ(scores->size(), 10);
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ((*scores)[i].terms(0).reward(), i);
    EXPECT_EQ((*scores)[i].terms(1).reward(), -i);
  }
  EXPECT_TRUE(CheckRequiredTerms(spec, *scores).ok());
  EXPECT_EQ(first.items_per_call().size(), 4);
  EXPECT_THAT(first.items_per_call(), Each(Le(3)));
}

TEST(ScoringClientTest, SplitsByBytesToo) {
  ScriptedServer server(FirstByte);
  ScoringOptions options = Quick();
  options.bytes_per_call = 40;  // two images of 18 bytes
  ScoringClient client({}, options);
  ASSERT_TRUE(client.Score(Spec({server.endpoint()}), {}, Images(5)).ok());
  EXPECT_EQ(server.items_per_call().size(), 3);
}

TEST(ScoringClientTest, SendsPromptAndMetadata) {
  ScriptedServer server([](int call, const v1::ScoreRequest& request, v1::ScoreResponse& response) {
    const grpc::Status status = FirstByte(call, request, response);
    const v1::ScoreItem& item = request.items(0);
    (*response.mutable_results(0)->mutable_details())["seen"] = item.prompt() + "|" + item.metadata().at("target");
    return status;
  });
  ScoringClient client({}, Quick());
  v1::Prompt prompt;
  prompt.set_text("a sign");
  (*prompt.mutable_metadata())["target"] = "CAT";
  const auto scores = client.Score(Spec({server.endpoint()}), prompt, Images(1));
  ASSERT_TRUE(scores.ok());
  EXPECT_EQ((*scores)[0].terms(0).details().at("seen"), "a sign|CAT");
}

TEST(ScoringClientTest, AsksAgainForOverloadedImagesOnly) {
  ScriptedServer server([](int call, const v1::ScoreRequest& request, v1::ScoreResponse& response) {
    const grpc::Status status = FirstByte(call, request, response);
    if (call == 0) response.mutable_results(1)->mutable_error()->set_kind(v1::ScoreError::OVERLOADED);
    return status;
  });
  ScoringClient client({}, Quick());
  const auto scores = client.Score(Spec({server.endpoint()}), {}, Images(3));
  ASSERT_TRUE(scores.ok());
  for (int i = 0; i < 3; ++i) EXPECT_EQ((*scores)[i].terms(0).reward(), i);
  EXPECT_EQ(server.items_per_call(), (std::vector<int>{3, 1}));
}

TEST(ScoringClientTest, StopsRetryingAServerThatStaysOverloaded) {
  ScriptedServer server([](int, const v1::ScoreRequest& request, v1::ScoreResponse& response) {
    for (int i = 0; i < request.items_size(); ++i)
      response.add_results()->mutable_error()->set_kind(v1::ScoreError::OVERLOADED);
    return grpc::Status::OK;
  });
  ScoringClient client({}, Quick());
  const v1::RewardSpec spec = Spec({server.endpoint()});
  const auto scores = client.Score(spec, {}, Images(1));
  ASSERT_TRUE(scores.ok());
  EXPECT_EQ((*scores)[0].terms(0).error().kind(), v1::ScoreError::OVERLOADED);
  EXPECT_TRUE(absl::IsResourceExhausted(CheckRequiredTerms(spec, *scores)));
  EXPECT_EQ(server.items_per_call().size(), 4);
  EXPECT_EQ(client.breaker_state(server.endpoint()), CircuitBreaker::State::kClosed) << "it answered every time";
}

TEST(ScoringClientTest, TakesBadInputAndBrokenAsFinal) {
  ScriptedServer server([](int, const v1::ScoreRequest&, v1::ScoreResponse& response) {
    response.add_results()->mutable_error()->set_kind(v1::ScoreError::BAD_INPUT);
    response.add_results()->mutable_error()->set_kind(v1::ScoreError::BROKEN);
    return grpc::Status::OK;
  });
  ScoringClient client({}, Quick());
  v1::RewardSpec spec = Spec({server.endpoint()});
  const auto scores = client.Score(spec, {}, Images(2));
  ASSERT_TRUE(scores.ok());
  EXPECT_EQ((*scores)[0].terms(0).error().kind(), v1::ScoreError::BAD_INPUT);
  EXPECT_EQ((*scores)[1].terms(0).error().kind(), v1::ScoreError::BROKEN);
  EXPECT_EQ(server.items_per_call().size(), 1);
  EXPECT_TRUE(absl::IsInvalidArgument(CheckRequiredTerms(spec, *scores)));
  spec.mutable_terms(0)->set_is_required(false);
  EXPECT_TRUE(CheckRequiredTerms(spec, *scores).ok());
}

TEST(ScoringClientTest, TakesAnAnswerWithoutAFiniteRewardAsBroken) {
  for (const double reward : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(), 1e200, -1.1e6}) {
    ScriptedServer server([reward](int, const v1::ScoreRequest&, v1::ScoreResponse& response) {
      response.add_results()->set_reward(reward);
      return grpc::Status::OK;
    });
    ScoringClient client({}, Quick());
    const auto scores = client.Score(Spec({server.endpoint()}), {}, Images(1));
    ASSERT_TRUE(scores.ok());
    EXPECT_EQ((*scores)[0].terms(0).error().kind(), v1::ScoreError::BROKEN);
  }
}

TEST(ScoringClientTest, TakesAWrongNumberOfResultsAsBroken) {
  ScriptedServer server([](int, const v1::ScoreRequest&, v1::ScoreResponse&) { return grpc::Status::OK; });
  ScoringClient client({}, Quick());
  const auto scores = client.Score(Spec({server.endpoint()}), {}, Images(2));
  ASSERT_TRUE(scores.ok());
  EXPECT_THAT((*scores)[1].terms(0).error().message(), HasSubstr("0 results for 2 images"));
}

TEST(ScoringClientTest, DoesNotRetryAScorerThatIsNotThere) {
  ScriptedServer server([](int, const auto&, auto&) { return grpc::Status(grpc::StatusCode::NOT_FOUND, "no s"); });
  ScoringClient client({}, Quick());
  const auto scores = client.Score(Spec({server.endpoint()}), {}, Images(1));
  ASSERT_TRUE(scores.ok());
  EXPECT_EQ((*scores)[0].terms(0).error().kind(), v1::ScoreError::BROKEN);
  EXPECT_EQ(server.items_per_call().size(), 1);
}

TEST(ScoringClientTest, OpensTheBreakerOfADeadServerAndReturnsWithinTheTimeout) {
  std::string endpoint;
  {
    ScriptedServer server(FirstByte);
    endpoint = server.endpoint();
  }
  ScoringOptions options = Quick();
  options.breaker.initial_pause = options.breaker.max_pause = absl::Hours(1);
  ScoringClient client({}, options);
  const v1::RewardSpec spec = Spec({endpoint}, 0.3);
  const auto scores = client.Score(spec, {}, Images(1));
  ASSERT_TRUE(scores.ok());
  EXPECT_EQ((*scores)[0].terms(0).error().kind(), v1::ScoreError::BROKEN);
  EXPECT_EQ(client.breaker_state(endpoint), CircuitBreaker::State::kOpen);
  EXPECT_TRUE(absl::IsUnavailable(CheckRequiredTerms(spec, *scores)));
}

TEST(ScoringClientTest, SaysThatTheServerSpeaksTlsAndThisClientDoesNot) {
  const TempFolder folder;
  const Certificate certificate = MakeCertificate(folder, "server");
  v1::NetworkConfig network;
  network.set_tls_cert(certificate.cert);
  network.set_tls_key(certificate.key);
  const auto server = RpcServer::Start({.listen = "127.0.0.1:0", .network = network}, {});
  ASSERT_TRUE(server.ok()) << server.status();
  ScoringClient client({}, Quick());
  const v1::RewardSpec spec = Spec({(*server)->endpoint()});
  const auto scores = client.Score(spec, {}, Images(2));
  ASSERT_TRUE(scores.ok()) << scores.status();
  EXPECT_THAT(std::string(CheckRequiredTerms(spec, *scores).message()), HasSubstr("set network.tls_ca"));
}

TEST(ScoringClientTest, FindsARestartedServerAgain) {
  std::string endpoint;
  {
    ScriptedServer server(FirstByte);
    endpoint = server.endpoint();
  }
  ScoringOptions options = Quick();
  options.retry.max_attempts = 1'000'000;
  ScoringClient client({}, options);
  std::unique_ptr<ScriptedServer> restarted;
  // Started only once the client has given the first one up as dead.
  const auto scores = client.Score(Spec({endpoint}), {}, Images(2), [&] {
    if (restarted == nullptr && client.breaker_state(endpoint) != CircuitBreaker::State::kClosed)
      restarted = std::make_unique<ScriptedServer>(FirstByte, endpoint);
    return true;
  });
  ASSERT_TRUE(scores.ok()) << scores.status();
  ASSERT_NE(restarted, nullptr);
  EXPECT_EQ((*scores)[1].terms(0).reward(), 1) << (*scores)[1].DebugString();
  EXPECT_EQ(client.breaker_state(endpoint), CircuitBreaker::State::kClosed);
}

TEST(ScoringClientTest, ReportsAServerThatDoesNotAnswerInTimeAsOverloaded) {
  absl::Notification release;
  ScriptedServer server([&](int call, const auto& request, auto& response) {
    release.WaitForNotification();
    return FirstByte(call, request, response);
  });
  ScoringClient client({}, Quick());
  const auto scores = client.Score(Spec({server.endpoint()}, 0.1), {}, Images(1));
  release.Notify();
  ASSERT_TRUE(scores.ok());
  EXPECT_EQ((*scores)[0].terms(0).error().kind(), v1::ScoreError::OVERLOADED);
}

TEST(ScoringClientTest, ReturnsWhenTheGroupIsNoLongerWanted) {
  absl::Notification called, release;
  ScriptedServer server([&](int call, const auto& request, auto& response) {
    called.Notify();
    release.WaitForNotification();
    return FirstByte(call, request, response);
  });
  ScoringClient client({}, Quick());
  const auto scores =
      client.Score(Spec({server.endpoint()}, 3600), {}, Images(1), [&] { return !called.HasBeenNotified(); });
  release.Notify();
  EXPECT_TRUE(absl::IsCancelled(scores.status())) << scores.status();
}

TEST(ScoringClientTest, RefusesWhatCannotBeScored) {
  ScoringClient client({}, Quick());
  EXPECT_TRUE(absl::IsInvalidArgument(client.Score({}, {}, Images(1)).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(client.Score(Spec({"127.0.0.1:1"}), {}, {Image{2, 2, "x"}}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(client.Score(Spec({""}), {}, Images(1)).status()));
}

}  // namespace
}  // namespace flowawr
