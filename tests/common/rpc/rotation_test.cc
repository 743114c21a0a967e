// TLS files and tokens that are replaced under servers and channels that go on: real handshakes, real streams.
#include <filesystem>
#include <string>
#include <thread>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/host_port.h"
#include "common/rpc/channel.h"
#include "common/rpc/rejects.h"
#include "common/rpc/server.h"
#include "common/rpc/status.h"
#include "common/rpc/tls_check.h"
#include "flowawr/v1/control.grpc.pb.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/common/rpc/test_service.h"
#include "tests/testing/certificate.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;

constexpr absl::Duration kPatience = absl::Seconds(30);

// A stream that sends a status each time it is told to, until it is told to end.
class StreamService : public v1::Control::Service {
 public:
  grpc::Status WatchStatus(grpc::ServerContext*, const v1::WatchStatusRequest*,
                           grpc::ServerWriter<v1::Status>* writer) override {
    absl::MutexLock lock(&mutex_);
    for (int sent = 0;; ++sent) {
      const auto has_news = [&] { return told_ > sent || is_over_; };
      mutex_.Await(absl::Condition(&has_news));
      if (is_over_) return grpc::Status::OK;
      writer->Write({});
    }
  }
  void Tell() {
    absl::MutexLock lock(&mutex_);
    ++told_;
  }
  void End() {
    absl::MutexLock lock(&mutex_);
    is_over_ = true;
  }

 private:
  absl::Mutex mutex_;
  int told_ = 0;
  bool is_over_ = false;
};

// The files of network live under one name each and are replaced as Kubernetes replaces them.
class RotationTest : public ::testing::Test {
 protected:
  RotationTest() {
    network_.set_tls_cert(folder_ / "live/cert.pem");
    network_.set_tls_key(folder_ / "live/key.pem");
    network_.set_tls_ca(folder_ / "live/ca.pem");
    network_.set_token_file(folder_.Write("token", "token-number-one"));
    Install(server_, authority_.cert);
  }

  void Install(const Certificate& server, const std::string& authorities) {
    namespace fs = std::filesystem;
    const std::string version = folder_ / absl::StrCat("version-", ++version_);
    fs::create_directory(version);
    fs::copy_file(server.cert, version + "/cert.pem");
    fs::copy_file(server.key, version + "/key.pem");
    fs::copy_file(authorities, version + "/ca.pem");
    fs::create_directory_symlink(version, folder_ / "next");
    fs::rename(folder_ / "next", folder_ / "live");
  }

  std::string Both(const std::string& one, const std::string& other) {
    return folder_.Write("both.pem", ReadFile(one).value() + ReadFile(other).value());
  }

  std::unique_ptr<RpcServer> Start(const std::string& listen = "127.0.0.1:0") {
    auto server = RpcServer::Start({.listen = listen, .network = network_}, {&service_, &stream_});
    EXPECT_TRUE(server.ok()) << server.status();
    return *std::move(server);
  }

  // Over a connection of its own.
  static absl::Status Call(const std::string& endpoint, const v1::NetworkConfig& network) {
    const auto channel = MakeChannel(endpoint, network);
    if (!channel.ok()) return channel.status();
    return CallOn(*channel, network);
  }
  static absl::Status CallOn(const std::shared_ptr<grpc::Channel>& channel, const v1::NetworkConfig& network) {
    v1::ListScorersResponse response;
    const auto context = MakeContext(kPatience, network);
    return FromGrpc(v1::RewardService::NewStub(channel)->ListScorers(context.get(), {}, &response));
  }

  // Until it is so, or for half a minute.
  template <typename Condition>
  static bool Await(Condition condition) {
    const absl::Time limit = MonotonicNow() + kPatience;
    while (!condition()) {
      if (MonotonicNow() > limit) return false;
      std::this_thread::yield();
    }
    return true;
  }

  // A client that knows these authorities and no others, from files that stay.
  v1::NetworkConfig Trusting(const std::string& authorities) const {
    v1::NetworkConfig network = network_;
    network.clear_tls_cert();
    network.clear_tls_key();
    network.set_mutual_tls(false);
    network.set_tls_ca(authorities);
    return network;
  }

  const TempFolder folder_;
  const Certificate authority_ = MakeAuthority(folder_, "authority"),
                    next_authority_ = MakeAuthority(folder_, "next-ca");
  const Certificate server_ = SignCertificate(folder_, authority_, "server");
  const Certificate next_server_ = SignCertificate(folder_, next_authority_, "next-server");
  TestService service_;
  StreamService stream_;
  v1::NetworkConfig network_;
  int version_ = 0;
};

TEST_F(RotationTest, NewConnectionsGetTheNewCertificateAndStreamsGoOn) {
  const auto server = Start();
  const auto channel = MakeChannel(server->endpoint(), network_).value();
  const auto context = MakeContext(kPatience, network_);
  const auto reader = v1::Control::NewStub(channel)->WatchStatus(context.get(), {});
  v1::Status status;
  stream_.Tell();
  ASSERT_TRUE(reader->Read(&status));

  EXPECT_EQ(Call(server->endpoint(), Trusting(authority_.cert)), absl::OkStatus());
  EXPECT_FALSE(CheckTls(server->endpoint(), Trusting(next_authority_.cert)).ok());
  Install(next_server_, next_authority_.cert);
  EXPECT_EQ(Call(server->endpoint(), Trusting(next_authority_.cert)), absl::OkStatus());
  EXPECT_FALSE(CheckTls(server->endpoint(), Trusting(authority_.cert)).ok());

  stream_.Tell();
  EXPECT_TRUE(reader->Read(&status)) << "a stream from before";
  EXPECT_EQ(CallOn(channel, network_), absl::OkStatus()) << "its connection";
  stream_.End();
  EXPECT_FALSE(reader->Read(&status));
  EXPECT_EQ(FromGrpc(reader->Finish()), absl::OkStatus());
}

TEST_F(RotationTest, NothingHalfWrittenIsTaken) {
  const auto server = Start();
  const std::string whole = ReadFile(next_server_.cert).value();
  // A certificate beside the key of another, half of one, and none.
  for (const std::string& cert : {whole, whole.substr(0, whole.size() / 2), std::string()}) {
    folder_.Write("live/cert.pem", cert);
    EXPECT_EQ(Call(server->endpoint(), Trusting(authority_.cert)), absl::OkStatus()) << cert;
  }
  std::filesystem::remove(folder_ / "live/key.pem");
  EXPECT_EQ(Call(server->endpoint(), Trusting(authority_.cert)), absl::OkStatus());
  Install(next_server_, next_authority_.cert);
  EXPECT_EQ(Call(server->endpoint(), Trusting(next_authority_.cert)), absl::OkStatus());
}

TEST_F(RotationTest, AChannelLearnsNewAuthoritiesAndNoHalfOnes) {
  auto server = Start();
  const std::string endpoint = server->endpoint();
  v1::NetworkConfig client = Trusting(folder_ / "client-ca.pem");
  folder_.Write("client-ca.pem", ReadFile(authority_.cert).value());
  const auto channel = MakeChannel(endpoint, client).value();
  ASSERT_EQ(CallOn(channel, client), absl::OkStatus());
  folder_.Write("client-ca.pem", "-----BEGIN CERTIFICATE-----\nhalf");
  const auto restart = [&] {
    server.reset();
    server = Start(endpoint);
    return Await([&] { return CallOn(channel, client).ok(); });
  };
  EXPECT_TRUE(restart()) << "with the old authority";
  Install(next_server_, next_authority_.cert);
  folder_.Write("client-ca.pem", ReadFile(next_authority_.cert).value());
  EXPECT_TRUE(restart()) << "with the new one";
}

TEST_F(RotationTest, ClientsOfMutualTlsLearnAServersNewAuthorityAndTheirOwnNewCertificate) {
  network_.set_mutual_tls(true);
  auto server = Start();
  const std::string endpoint = server->endpoint();
  const auto channel = MakeChannel(endpoint, network_).value();
  ASSERT_EQ(CallOn(channel, network_), absl::OkStatus());
  // Both authorities for a while, then the new alone; the same files serve both sides here.
  Install(next_server_, Both(authority_.cert, next_authority_.cert));
  EXPECT_TRUE(Await([&] { return Call(endpoint, network_).ok(); })) << "this process looks at its files every second";
  const auto restart = [&] {
    server.reset();
    server = Start(endpoint);
    return Await([&] { return CallOn(channel, network_).ok(); });
  };
  EXPECT_TRUE(restart());
  Install(next_server_, next_authority_.cert);
  EXPECT_TRUE(restart()) << "shows a certificate of the new authority";
}

TEST_F(RotationTest, MutualTlsKeepsClientsWithoutACertificateOut) {
  network_.set_mutual_tls(true);
  const auto server = Start();
  v1::NetworkConfig bare = Trusting(authority_.cert);
  EXPECT_EQ(Call(server->endpoint(), bare).code(), absl::StatusCode::kUnavailable);
  absl::Status found = CheckTls(server->endpoint(), bare);
  EXPECT_EQ(found.code(), absl::StatusCode::kPermissionDenied) << found;
  EXPECT_THAT(std::string(found.message()), HasSubstr("set network.mutual_tls: true, network.tls_cert"));

  v1::NetworkConfig stranger = bare;
  const Certificate own = SignCertificate(folder_, next_authority_, "stranger", "clientAuth");
  stranger.set_mutual_tls(true);
  stranger.set_tls_cert(own.cert);
  stranger.set_tls_key(own.key);
  EXPECT_EQ(Call(server->endpoint(), stranger).code(), absl::StatusCode::kUnavailable);
  found = CheckTls(server->endpoint(), stranger);
  EXPECT_EQ(found.code(), absl::StatusCode::kPermissionDenied) << found;
  EXPECT_THAT(std::string(found.message()), HasSubstr("must be signed by an authority in the server's"));

  const Certificate wrong_usage = SignCertificate(folder_, authority_, "wrong-usage", "serverAuth");
  v1::NetworkConfig misused = stranger;
  misused.set_tls_cert(wrong_usage.cert);
  misused.set_tls_key(wrong_usage.key);
  EXPECT_EQ(Call(server->endpoint(), misused).code(), absl::StatusCode::kUnavailable);
  found = CheckTls(server->endpoint(), misused);
  EXPECT_THAT(std::string(found.message()), HasSubstr("clientAuth")) << found;

  const Certificate welcome = SignCertificate(folder_, authority_, "welcome", "clientAuth");
  v1::NetworkConfig known = stranger;
  known.set_tls_cert(welcome.cert);
  known.set_tls_key(welcome.key);
  EXPECT_EQ(Call(server->endpoint(), known), absl::OkStatus());
  EXPECT_EQ(CheckTls(server->endpoint(), known), absl::OkStatus());
}

TEST_F(RotationTest, ReachesAnIpv6AddressHoweverItIsWritten) {
  Install(SignCertificate(folder_, authority_, "six", "serverAuth", "IP:::1"), authority_.cert);
  auto server = RpcServer::Start({.listen = "[::1]:0", .network = network_}, {&service_});
  if (!server.ok()) GTEST_SKIP() << "no IPv6 here: " << server.status();
  const int port = ParseHostPort((*server)->endpoint())->port;
  for (const std::string host : {"[::1]", "[0:0::1]"})
    EXPECT_EQ(Call(absl::StrCat(host, ":", port), Trusting(authority_.cert)), absl::OkStatus()) << host;
}

TEST_F(RotationTest, MutualTlsNamesWhatIsMissing) {
  v1::NetworkConfig network;
  network.set_mutual_tls(true);
  network.set_tls_ca(authority_.cert);
  EXPECT_THAT(std::string(MakeChannel("127.0.0.1:1", network).status().message()), HasSubstr("network.tls_cert"));
  EXPECT_THAT(std::string(RpcServer::Start({.listen = "127.0.0.1:0", .network = network}, {}).status().message()),
              HasSubstr("network.mutual_tls needs"));
  network.clear_tls_ca();
  EXPECT_THAT(std::string(MakeChannel("127.0.0.1:1", network).status().message()), HasSubstr("network.tls_ca"));
}

TEST_F(RotationTest, CallsGoOnWhileTheTokenIsReplaced) {
  const auto server = Start();
  const auto channel = MakeChannel(server->endpoint(), network_).value();
  std::atomic<bool> is_over = false;
  std::atomic<int> calls = 0;
  absl::Status failure;
  std::thread caller([&] {
    while (!is_over && failure.ok()) {
      failure = CallOn(channel, network_);
      ++calls;
    }
  });
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(WriteFileAtomically(folder_ / "token", absl::StrCat("token-number-", i, "-of-many")).ok());
    const int before = calls;  // after the writing: the server is to see each token before the next one
    EXPECT_TRUE(Await([&] { return calls > before + 2 || !failure.ok(); }));
  }
  is_over = true;
  caller.join();
  EXPECT_EQ(failure, absl::OkStatus());
}

TEST_F(RotationTest, RolesAreHeldAtTheDoorAndRefusalsCounted) {
  v1::NetworkConfig clear;
  clear.set_token_file(network_.token_file());
  clear.set_actor_token_file(folder_.Write("actors", "token-of-the-actors"));
  clear.set_read_only_token_file(folder_.Write("lookers", "token-of-the-lookers"));
  const auto server = RpcServer::Start({.listen = "127.0.0.1:0", .network = clear}, {&service_, &stream_});
  ASSERT_TRUE(server.ok()) << server.status();
  const auto stub = v1::Control::NewStub(MakeChannel((*server)->endpoint(), {}).value());
  const auto pause = [&](const std::string& token_file) {
    v1::NetworkConfig network;
    network.set_token_file(token_file);
    v1::Status status;
    const auto context = MakeContext(kPatience, network);
    return FromGrpc(stub->Pause(context.get(), {}, &status));
  };
  const uint64_t roles = RejectsOf(Reject::kRole), unknown = RejectsOf(Reject::kUnknownToken),
                 none = RejectsOf(Reject::kNoToken);
  absl::Status refused = pause(clear.actor_token_file());
  EXPECT_EQ(refused.code(), absl::StatusCode::kPermissionDenied) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("the token is the actors'; pausing needs an operator's"));
  EXPECT_EQ(pause(clear.read_only_token_file()).code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(pause(folder_.Write("other", "token-of-somebody")).code(), absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(pause("").code(), absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(pause(clear.token_file()).code(), absl::StatusCode::kUnimplemented) << "reaches the handler";
  EXPECT_EQ(RejectsOf(Reject::kRole), roles + 2);
  EXPECT_EQ(RejectsOf(Reject::kUnknownToken), unknown + 1);
  EXPECT_EQ(RejectsOf(Reject::kNoToken), none + 1);
}

}  // namespace
}  // namespace flowawr
