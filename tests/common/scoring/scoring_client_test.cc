#include "common/scoring/scoring_client.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "common/base/clock.h"
#include "common/rpc/server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/common/scoring/scripted_server.h"
#include "tests/testing/certificate.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::Le;

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
    term.set_weight(1);
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
  EXPECT_EQ(client.retries(), 3u);
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
  for (const double reward :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(), 1e200, -1.1e6}) {
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

// A server that was started again has it back soon.
TEST(ScoringClientTest, WaitsForAScorerThatIsNotThereYet) {
  ScriptedServer server([](int call, const auto& request, auto& response) {
    return call < 2 ? grpc::Status(grpc::StatusCode::NOT_FOUND, "no s") : FirstByte(call, request, response);
  });
  ScoringClient client({}, Quick());
  const auto scores = client.Score(Spec({server.endpoint()}), {}, Images(1));
  ASSERT_TRUE(scores.ok());
  EXPECT_EQ((*scores)[0].terms(0).reward(), 0);
  EXPECT_EQ(server.items_per_call().size(), 3);
}

TEST(ScoringClientTest, DoesNotWaitForAScorerThatNobodyNeedsOrThatDoesNotCome) {
  ScriptedServer server([](int, const auto&, auto&) { return grpc::Status(grpc::StatusCode::NOT_FOUND, "no s"); });
  ScoringOptions impatient = Quick();
  impatient.await_lacking = absl::ZeroDuration();
  v1::RewardSpec optional = Spec({server.endpoint()}), shadow = optional;
  optional.mutable_terms(0)->set_is_required(false);
  shadow.mutable_terms(0)->set_weight(0);
  size_t calls = 0;
  for (const auto& [spec, options] : {std::pair(Spec({server.endpoint()}), impatient), std::pair(optional, Quick()),
                                      std::pair(shadow, Quick())}) {
    ScoringClient client({}, options);
    const auto scores = client.Score(spec, {}, Images(1));
    ASSERT_TRUE(scores.ok());
    EXPECT_EQ((*scores)[0].terms(0).error().kind(), v1::ScoreError::BROKEN);
    EXPECT_EQ(server.items_per_call().size(), ++calls);
  }
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
  ASSERT_EQ(client.endpoints().size(), 1u) << "for metrics";
  EXPECT_EQ(client.endpoints()[0].address, endpoint);
  EXPECT_EQ(client.endpoints()[0].breaker, CircuitBreaker::State::kOpen);
  EXPECT_EQ(client.endpoints()[0].calls, 0);
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

// --- several servers of one term

std::string Both(const std::string& a, const std::string& b) { return absl::StrCat(a, ", ", b); }

std::string DeadEndpoint() { return ScriptedServer(FirstByte).endpoint(); }

TEST(ScoringClientTest, SharesCallsOutAmongTheServersOfATerm) {
  ScriptedServer first(FirstByte), second(FirstByte);
  ScoringOptions options = Quick();
  options.images_per_call = 1;
  ScoringClient client({}, options);
  const auto scores = client.Score(Spec({Both(first.endpoint(), second.endpoint())}), {}, Images(8));
  ASSERT_TRUE(scores.ok()) << scores.status();
  for (int i = 0; i < 8; ++i) EXPECT_EQ((*scores)[i].terms(0).reward(), i);
  EXPECT_EQ(first.items_per_call().size(), 4);
  EXPECT_EQ(second.items_per_call().size(), 4);
}

TEST(ScoringClientTest, TriesTheOtherServerAtOnceWhenOneIsAway) {
  ScriptedServer alive(FirstByte);
  ScoringOptions options = Quick();
  options.retry.max_attempts = 1;  // no pause, no second round
  options.images_per_call = 1;
  ScoringClient client({}, options);
  const v1::RewardSpec spec = Spec({Both(DeadEndpoint(), alive.endpoint())});
  for (int group = 0; group < 3; ++group) {
    const auto scores = client.Score(spec, {}, Images(4));
    ASSERT_TRUE(scores.ok()) << scores.status();
    EXPECT_TRUE(CheckRequiredTerms(spec, *scores).ok()) << CheckRequiredTerms(spec, *scores);
  }
}

TEST(ScoringClientTest, TakesAServerBackOnceItAnswersThoughTheOtherIsWell) {
  ScriptedServer alive(FirstByte);
  const std::string dead = DeadEndpoint();
  ScoringClient client({}, Quick());
  const v1::RewardSpec spec = Spec({Both(dead, alive.endpoint())});
  while (client.breaker_state(dead) == CircuitBreaker::State::kClosed)
    ASSERT_TRUE(client.Score(spec, {}, Images(1)).ok());
  ScriptedServer restarted(FirstByte, dead);
  const absl::Time limit = MonotonicNow() + absl::Seconds(20);
  while (restarted.items_per_call().empty() && MonotonicNow() < limit) {
    const auto scores = client.Score(spec, {}, Images(1));
    ASSERT_TRUE(scores.ok() && CheckRequiredTerms(spec, *scores).ok());
  }
  EXPECT_EQ(client.breaker_state(dead), CircuitBreaker::State::kClosed);
}

TEST(ScoringClientTest, LeavesOutAServerThatHasLostTheScorerWhileAnotherHasIt) {
  ScriptedServer empty([](int, const auto&, auto&) { return grpc::Status(grpc::StatusCode::NOT_FOUND, "no s"); });
  ScriptedServer whole(FirstByte);
  ScoringOptions options = Quick();
  options.retry.max_attempts = 1;
  options.images_per_call = 1;
  options.leave_out_lacking = absl::Hours(1);
  ScoringClient client({}, options);
  const v1::RewardSpec spec = Spec({Both(empty.endpoint(), whole.endpoint())});
  for (int group = 0; group < 2; ++group) {
    const auto scores = client.Score(spec, {}, Images(4));
    ASSERT_TRUE(scores.ok() && CheckRequiredTerms(spec, *scores).ok());
    EXPECT_EQ(empty.items_per_call().size(), 2) << "of the first group, at once";
  }
}

TEST(ScoringClientTest, AsksAnotherServerForWhatOneIsBrokenFor) {
  ScriptedServer broken([](int, const v1::ScoreRequest& request, v1::ScoreResponse& response) {
    for (int i = 0; i < request.items_size(); ++i)
      response.add_results()->mutable_error()->set_kind(v1::ScoreError::BROKEN);
    return grpc::Status::OK;
  });
  ScriptedServer well(FirstByte), bad([](int, const v1::ScoreRequest&, v1::ScoreResponse& response) {
    response.add_results()->mutable_error()->set_kind(v1::ScoreError::BAD_INPUT);
    return grpc::Status::OK;
  });
  ScoringClient client({}, Quick());
  for (int i = 0; i < 2; ++i) {  // whichever is first
    const auto scores = client.Score(Spec({Both(broken.endpoint(), well.endpoint())}), {}, Images(3));
    ASSERT_TRUE(scores.ok());
    EXPECT_EQ((*scores)[2].terms(0).reward(), 2) << (*scores)[2].DebugString();
    const auto both = client.Score(Spec({Both(broken.endpoint(), broken.endpoint())}), {}, Images(1));
    EXPECT_EQ((*both)[0].terms(0).error().kind(), v1::ScoreError::BROKEN);
    const auto hopeless = client.Score(Spec({Both(bad.endpoint(), bad.endpoint())}), {}, Images(1));
    EXPECT_EQ((*hopeless)[0].terms(0).error().kind(), v1::ScoreError::BAD_INPUT);
  }
  EXPECT_EQ(bad.items_per_call().size(), 2);
}

TEST(ScoringClientTest, LeavesTimeForAnotherServerWhenOneHangs) {
  absl::Notification release;
  ScriptedServer hung([&](int call, const auto& request, auto& response) {
    release.WaitForNotification();
    return FirstByte(call, request, response);
  });
  ScriptedServer well(FirstByte);
  ScoringOptions options = Quick();
  options.images_per_call = 1;
  ScoringClient client({}, options);
  const v1::RewardSpec spec = Spec({Both(hung.endpoint(), well.endpoint())}, 2);
  const auto scores = client.Score(spec, {}, Images(2));
  release.Notify();
  ASSERT_TRUE(scores.ok()) << scores.status();
  EXPECT_TRUE(CheckRequiredTerms(spec, *scores).ok()) << CheckRequiredTerms(spec, *scores);
}

// --- what servers ask for

TEST(ScoringClientTest, WaitsAsLongAsAnOverloadedServerAsks) {
  absl::Mutex mutex;
  std::vector<absl::Time> calls;
  ScriptedServer server([&](int call, const v1::ScoreRequest& request, v1::ScoreResponse& response) {
    {
      absl::MutexLock lock(&mutex);
      calls.push_back(MonotonicNow());
    }
    if (call > 0) return FirstByte(call, request, response);
    v1::ScoreError& error = *response.add_results()->mutable_error();
    error.set_kind(v1::ScoreError::OVERLOADED);
    error.set_retry_after_s(0.3);
    return grpc::Status::OK;
  });
  ScoringClient client({}, Quick());
  const auto scores = client.Score(Spec({server.endpoint()}), {}, Images(1));
  ASSERT_TRUE(scores.ok() && (*scores)[0].terms(0).has_reward());
  ASSERT_EQ(calls.size(), 2u);
  EXPECT_GE(calls[1] - calls[0], absl::Milliseconds(300));
}

// Nothing of its first request finds room.
class FullOnce : public ScriptedServer {
 public:
  FullOnce() : ScriptedServer(FirstByte) {}
  grpc::Status Score(grpc::ServerContext* context, const v1::ScoreRequest* request,
                     v1::ScoreResponse* response) override {
    if (calls_++ > 0) return ScriptedServer::Score(context, request, response);
    context->AddTrailingMetadata("grpc-retry-pushback-ms", "300");
    return {grpc::StatusCode::RESOURCE_EXHAUSTED, "full"};
  }

 private:
  std::atomic<int> calls_ = 0;
};

TEST(ScoringClientTest, WaitsAsLongAsAServerThatRefusesAWholeCallAsks) {
  FullOnce server;
  ScoringClient client({}, Quick());
  const absl::Time start = MonotonicNow();
  const auto scores = client.Score(Spec({server.endpoint()}), {}, Images(1));
  ASSERT_TRUE(scores.ok() && (*scores)[0].terms(0).has_reward());
  EXPECT_GE(MonotonicNow() - start, absl::Milliseconds(300));
}

TEST(ScoringClientTest, WaitsNoLongerThanIsReasonableWhateverAServerAsks) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN(), kInfinity = std::numeric_limits<double>::infinity();
  for (const double absurd : {1e300, -1.0, kNan, kInfinity}) {
    ScriptedServer server([&](int call, const v1::ScoreRequest& request, v1::ScoreResponse& response) {
      if (call > 0) return FirstByte(call, request, response);
      v1::ScoreError& error = *response.add_results()->mutable_error();
      error.set_kind(v1::ScoreError::OVERLOADED);
      error.set_retry_after_s(absurd);
      return grpc::Status::OK;
    });
    ScoringOptions options = Quick();
    options.longest_retry_after = absl::Milliseconds(10);
    ScoringClient client({}, options);
    const auto scores = client.Score(Spec({server.endpoint()}), {}, Images(1));
    ASSERT_TRUE(scores.ok() && (*scores)[0].terms(0).has_reward()) << absurd;
  }
}

// --- shadows

TEST(ScoringClientTest, GivesUpAShadowWhoseServerIsAwayOnceTheOtherRewardsAreThere) {
  ScriptedServer server(FirstByte);
  ScoringOptions options = Quick();
  options.retry.max_attempts = 1'000'000;
  ScoringClient client({}, options);
  v1::RewardSpec spec = Spec({server.endpoint(), DeadEndpoint()}, 3600);
  spec.mutable_terms(1)->set_weight(0);
  for (int group = 0; group < 5; ++group) {  // while its breaker is closed and while it is open
    const auto scores = client.Score(spec, {}, Images(2));
    ASSERT_TRUE(scores.ok()) << scores.status();
    EXPECT_EQ((*scores)[1].terms(0).reward(), 1);
    EXPECT_EQ((*scores)[1].terms(1).error().kind(), v1::ScoreError::BROKEN);
    EXPECT_TRUE(CheckRequiredTerms(spec, *scores).ok()) << "a shadow is never required";
    EXPECT_TRUE(CheckAnyReward(spec, *scores).ok());
  }
}

TEST(ScoringClientTest, TheRewardOfAShadowAloneIsNoReward) {
  ScriptedServer server(FirstByte);
  ScoringClient client({}, Quick());
  v1::RewardSpec spec = Spec({server.endpoint()});
  spec.mutable_terms(0)->set_weight(0);
  const auto scores = client.Score(spec, {}, Images(1));
  ASSERT_TRUE(scores.ok() && (*scores)[0].terms(0).has_reward());
  EXPECT_TRUE(absl::IsUnavailable(CheckAnyReward(spec, *scores)));
}

TEST(ScoringClientTest, RefusesWhatCannotBeScored) {
  ScoringClient client({}, Quick());
  EXPECT_TRUE(absl::IsInvalidArgument(client.Score({}, {}, Images(1)).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(client.Score(Spec({"127.0.0.1:1"}), {}, {Image{2, 2, "x"}}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(client.Score(Spec({""}), {}, Images(1)).status()));
}

}  // namespace
}  // namespace flowawr
