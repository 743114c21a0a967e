#include "common/rpc/server.h"

#include <string>
#include <thread>

#include "common/rpc/channel.h"
#include "common/rpc/peer.h"
#include "common/rpc/status.h"
#include "gmock/gmock.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/generic/generic_stub.h"
#include "gtest/gtest.h"
#include "tests/common/rpc/test_service.h"
#include "tests/testing/certificate.h"
#include "tests/testing/peak_memory.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;

constexpr absl::Duration kPatience = absl::Seconds(30);

v1::NetworkConfig Network() {
  v1::NetworkConfig network;
  network.set_max_message_mib(4);
  return network;
}

ServerOptions Loopback(const v1::NetworkConfig& network) { return {.listen = "127.0.0.1:0", .network = network}; }

// One call as a client with this configuration makes it.
absl::Status ListScorers(const std::string& endpoint, const v1::NetworkConfig& network) {
  const auto channel = MakeChannel(endpoint, network);
  if (!channel.ok()) return channel.status();
  v1::ListScorersResponse response;
  const auto context = MakeContext(kPatience, network);
  return FromGrpc(v1::RewardService::NewStub(*channel)->ListScorers(context.get(), {}, &response));
}

// The raw answer of a method of a service whose messages are not generated here; "" as request.
grpc::Status CallByName(const std::string& endpoint, const v1::NetworkConfig& network, const std::string& method,
                        std::string* answer = nullptr) {
  grpc::GenericStub stub(MakeChannel(endpoint, network).value());
  grpc::CompletionQueue queue;
  const auto context = MakeContext(kPatience, network);
  grpc::ByteBuffer request, response;
  const grpc::Slice empty;
  request = grpc::ByteBuffer(&empty, 1);
  const auto call = stub.PrepareUnaryCall(context.get(), method, request, &queue);
  call->StartCall();
  grpc::Status status;
  call->Finish(&response, &status, nullptr);
  void* tag = nullptr;
  bool is_ok = false;
  queue.Next(&tag, &is_ok);
  std::vector<grpc::Slice> slices;
  if (answer != nullptr && status.ok() && response.Dump(&slices).ok())
    for (const grpc::Slice& slice : slices) answer->append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return status;
}

constexpr char kHealthCheck[] = "/grpc.health.v1.Health/Check";
constexpr char kServingOnTheWire[] = "\x08\x01";
constexpr char kNotServingOnTheWire[] = "\x08\x02";

TEST(RpcServer, ServesAndFindsAFreePort) {
  TestService service;
  const auto server = RpcServer::Start(Loopback(Network()), {&service});
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_THAT((*server)->endpoint(), ::testing::MatchesRegex("127\\.0\\.0\\.1:[1-9][0-9]+"));
  EXPECT_EQ(ListScorers((*server)->endpoint(), Network()), absl::OkStatus());
  EXPECT_EQ(service.calls, 1);
}

TEST(RpcServer, AnswersHealthChecksWithWhatItWasTold) {
  const auto server = RpcServer::Start(Loopback(Network()), {});
  ASSERT_TRUE(server.ok()) << server.status();
  std::string answer;
  EXPECT_TRUE(CallByName((*server)->endpoint(), Network(), kHealthCheck, &answer).ok());
  EXPECT_EQ(answer, kServingOnTheWire);
  (*server)->SetServing(false);
  answer.clear();
  EXPECT_TRUE(CallByName((*server)->endpoint(), Network(), kHealthCheck, &answer).ok());
  EXPECT_EQ(answer, kNotServingOnTheWire);
}

TEST(RpcServer, OffersReflection) {
  const auto server = RpcServer::Start(Loopback(Network()), {});
  ASSERT_TRUE(server.ok()) << server.status();
  const grpc::Status status =
      CallByName((*server)->endpoint(), Network(), "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo");
  EXPECT_NE(status.error_code(), grpc::StatusCode::UNIMPLEMENTED) << status.error_message();
  EXPECT_EQ(CallByName((*server)->endpoint(), Network(), "/no.such.Service/Method").error_code(),
            grpc::StatusCode::UNIMPLEMENTED);
}

TEST(RpcServer, SaysThatThePortIsTaken) {
  const auto first = RpcServer::Start(Loopback(Network()), {});
  ASSERT_TRUE(first.ok()) << first.status();
  const auto second = RpcServer::Start({.listen = (*first)->endpoint(), .network = Network()}, {});
  EXPECT_EQ(second.status().code(), absl::StatusCode::kAlreadyExists) << second.status();
  EXPECT_THAT(std::string(second.status().message()), HasSubstr((*first)->endpoint()));
}

TEST(RpcServer, RefusesToListenOutsideLoopbackUnencrypted) {
  // An address kept for documentation: past the refusal, no machine can listen on it.
  ServerOptions options{.listen = "192.0.2.1:0", .network = Network()};
  const absl::Status refused = RpcServer::Start(options, {}).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kPermissionDenied) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("network.insecure"));
  options.network.set_insecure(true);
  const absl::Status tried = RpcServer::Start(options, {}).status();
  EXPECT_EQ(tried.code(), absl::StatusCode::kInvalidArgument) << tried;
  EXPECT_THAT(std::string(tried.message()), HasSubstr("must be this machine's"));
}

TEST(RpcServer, NamesABadAddress) {
  for (const std::string listen : {"127.0.0.1", "127.0.0.1:x", ":1", "::1:1", "127.0.0.1:70000"}) {
    const auto server = RpcServer::Start({.listen = listen, .network = Network()}, {});
    EXPECT_EQ(server.status().code(), absl::StatusCode::kInvalidArgument) << listen;
    EXPECT_THAT(std::string(server.status().message()), HasSubstr(listen));
  }
}

TEST(RpcServer, RefusesEveryMethodWithoutTheToken) {
  const TempFolder folder;
  TestService service;
  v1::NetworkConfig with_token = Network(), wrong_token = Network();
  with_token.set_token_file(folder.Write("token", "0123456789abcdef0123\n"));
  wrong_token.set_token_file(folder.Write("wrong", "0123456789abcdef0124"));
  const auto server = RpcServer::Start(Loopback(with_token), {&service});
  ASSERT_TRUE(server.ok()) << server.status();
  const std::string endpoint = (*server)->endpoint();

  EXPECT_EQ(ListScorers(endpoint, Network()).code(), absl::StatusCode::kUnauthenticated);
  const absl::Status wrong = ListScorers(endpoint, wrong_token);
  EXPECT_EQ(wrong.code(), absl::StatusCode::kUnauthenticated) << wrong;
  EXPECT_THAT(std::string(wrong.message()), HasSubstr("token is wrong"));
  EXPECT_EQ(CallByName(endpoint, Network(), kHealthCheck).error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(service.calls, 0);
  EXPECT_EQ(ListScorers(endpoint, with_token), absl::OkStatus());
  EXPECT_TRUE(CallByName(endpoint, with_token, kHealthCheck).ok());
  EXPECT_EQ(service.calls, 1);
}

TEST(RpcServer, RefusesCallsThatAreMeantForAnother) {
  const TempFolder folder;
  v1::NetworkConfig with_token = Network();
  with_token.set_token_file(folder.Write("token", "0123456789abcdef\n"));
  for (const v1::NetworkConfig& network : {Network(), with_token}) {
    TestService service;
    ServerOptions options = Loopback(network);
    options.identities = {RunIdentity("a"), InstanceIdentity("b")};
    const auto server = RpcServer::Start(options, {&service});
    ASSERT_TRUE(server.ok()) << server.status();
    const auto stub = v1::RewardService::NewStub(MakeChannel((*server)->endpoint(), network).value());
    const auto call = [&](const std::string& identity) {
      v1::ListScorersResponse response;
      const auto context = MakeContext(kPatience, network);
      MeantFor(identity, context.get());
      return FromGrpc(stub->ListScorers(context.get(), {}, &response));
    };
    for (const std::string& identity : {RunIdentity("a"), InstanceIdentity("b"), std::string()})
      EXPECT_EQ(call(identity), absl::OkStatus()) << identity;
    for (const std::string& identity : {RunIdentity("b"), InstanceIdentity("a"), RunIdentity("")})
      EXPECT_TRUE(IsAnotherPeer(call(identity))) << identity;
    EXPECT_EQ(service.calls, 3) << "a refused call reaches no handler";
  }
}

TEST(RpcServer, RefusesATokenThatIsEasyToGuess) {
  const TempFolder folder;
  v1::NetworkConfig network = Network();
  network.set_token_file(folder.Write("token", "secret\n"));
  const auto server = RpcServer::Start(Loopback(network), {});
  EXPECT_EQ(server.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(server.status().message()), HasSubstr("at least 16"));
  EXPECT_THAT(std::string(server.status().message()), ::testing::Not(HasSubstr("secret")));
}

TEST(RpcServer, SpeaksTlsToClientsThatTrustItsAuthority) {
  const TempFolder folder;
  const Certificate certificate = MakeCertificate(folder, "server");
  TestService service;
  v1::NetworkConfig network = Network();
  network.set_tls_cert(certificate.cert);
  network.set_tls_key(certificate.key);
  network.set_tls_ca(certificate.cert);
  network.set_token_file(folder.Write("token", "0123456789abcdef0123"));
  const auto server = RpcServer::Start(Loopback(network), {&service});
  ASSERT_TRUE(server.ok()) << server.status();

  EXPECT_EQ(ListScorers((*server)->endpoint(), network), absl::OkStatus());
  EXPECT_EQ(ListScorers((*server)->endpoint(), Network()).code(), absl::StatusCode::kUnavailable);
  v1::NetworkConfig tokenless = network;
  tokenless.clear_token_file();
  EXPECT_EQ(ListScorers((*server)->endpoint(), tokenless).code(), absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(service.calls, 1);
}

TEST(RpcServer, NamesATlsFileThatIsNoGood) {
  const TempFolder folder;
  v1::NetworkConfig network = Network();
  network.set_tls_key(folder.Write("key.pem", "no key"));
  EXPECT_THAT(std::string(RpcServer::Start(Loopback(network), {}).status().message()), HasSubstr("go together"));
  network.set_tls_cert(folder / "missing.pem");
  EXPECT_THAT(std::string(RpcServer::Start(Loopback(network), {}).status().message()),
              HasSubstr("key.pem is not a PEM file"));
}

TEST(RpcServer, RefusesAMessageAboveTheLimit) {
  TestService service;
  v1::NetworkConfig small = Network();
  small.set_max_message_mib(1);
  const auto server = RpcServer::Start(Loopback(small), {&service});
  ASSERT_TRUE(server.ok()) << server.status();
  v1::ScoreRequest request;
  request.add_items()->set_image_rgb(std::string(2 << 20, 'x'));
  v1::ScoreResponse response;
  const auto context = MakeContext(kPatience, Network());
  const auto channel = MakeChannel((*server)->endpoint(), Network()).value();
  const grpc::Status status = v1::RewardService::NewStub(channel)->Score(context.get(), request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED) << status.error_message();
  EXPECT_EQ(service.calls, 0);
}

// Zeros that a client sends in a thousandth of their size; the limit of a message would be asked when they are there.
TEST(RpcServer, RefusesACompressedMessageBeforeItGrows) {
  TestService service;
  const auto server = RpcServer::Start(Loopback(Network()), {&service});
  ASSERT_TRUE(server.ok()) << server.status();
  v1::ScoreRequest request;
  request.add_items()->set_image_rgb(std::string(128 << 20, '\0'));
  grpc::ChannelArguments arguments;
  arguments.SetMaxSendMessageSize(-1);
  const auto channel =
      grpc::CreateCustomChannel((*server)->endpoint(), grpc::InsecureChannelCredentials(), arguments);
  const auto stub = v1::RewardService::NewStub(channel);
  const auto call = [&](grpc_compression_algorithm algorithm) {
    const auto context = MakeContext(kPatience, Network());
    context->set_compression_algorithm(algorithm);
    v1::ScoreResponse response;
    return stub->Score(context.get(), request, &response).error_code();
  };
  // What the client itself takes for it is serialised twice: as it is, and for the wire.
  const PeakMemory peak;
  EXPECT_EQ(call(GRPC_COMPRESS_GZIP), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_LT(peak.Bytes(), 200 << 20);
  EXPECT_EQ(call(GRPC_COMPRESS_DEFLATE), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(service.calls, 0);
}

TEST(RpcServer, FinishesCallsUnderWayBeforeItStops) {
  TestService service;
  auto server = RpcServer::Start(Loopback(Network()), {&service});
  ASSERT_TRUE(server.ok()) << server.status();
  const auto channel = MakeChannel((*server)->endpoint(), Network()).value();
  grpc::Status status(grpc::StatusCode::UNKNOWN, "not called");
  std::thread caller([&] {
    v1::UnloadScorerResponse response;
    status = v1::RewardService::NewStub(channel)->UnloadScorer(MakeContext(kPatience, Network()).get(), {}, &response);
  });
  service.has_begun.WaitForNotification();
  std::thread stopper([&] { (*server)->Shutdown(kPatience); });
  service.release.Notify();
  stopper.join();
  caller.join();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(ListScorers((*server)->endpoint(), Network()).code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace flowawr
