#include "common/rpc/tls_check.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "common/rpc/server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/certificate.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;

class TlsCheckTest : public ::testing::Test {
 protected:
  // The endpoint of a server with this certificate, or without TLS.
  std::string Serve(const Certificate& certificate = {}) {
    v1::NetworkConfig network;
    network.set_tls_cert(certificate.cert);
    network.set_tls_key(certificate.key);
    auto server = RpcServer::Start({.listen = "127.0.0.1:0", .network = network}, {});
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    return server_->endpoint();
  }
  static v1::NetworkConfig Trusting(const std::string& authority) {
    v1::NetworkConfig network;
    network.set_tls_ca(authority);
    return network;
  }
  static void ExpectRefused(const absl::Status& status, const char* reason) {
    EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(reason));
  }

  const TempFolder folder_;
  std::unique_ptr<RpcServer> server_;
};

TEST_F(TlsCheckTest, FindsNothingWhereBothSidesFit) {
  EXPECT_EQ(CheckTls(Serve(), {}), absl::OkStatus());
  const Certificate certificate = MakeCertificate(folder_, "server");
  EXPECT_EQ(CheckTls(Serve(certificate), Trusting(certificate.cert)), absl::OkStatus());
  EXPECT_EQ(CheckTls(absl::StrCat("localhost:", server_->endpoint().substr(10)), Trusting(certificate.cert)),
            absl::OkStatus());
}

TEST_F(TlsCheckTest, TellsAClientInClearThatTheServerEncrypts) {
  ExpectRefused(CheckTls(Serve(MakeCertificate(folder_, "server")), {}), "set network.tls_ca");
}

TEST_F(TlsCheckTest, TellsAClientWithTlsThatTheServerDoesNotEncrypt) {
  ExpectRefused(CheckTls(Serve(), Trusting(MakeCertificate(folder_, "server").cert)), "network.tls_cert");
}

TEST_F(TlsCheckTest, TellsWhoseCertificateIsNotTrusted) {
  const std::string endpoint = Serve(MakeCertificate(folder_, "server"));
  const std::string other = MakeCertificate(folder_, "other").cert;
  ExpectRefused(CheckTls(endpoint, Trusting(other)), "not trusted");
  ExpectRefused(CheckTls(endpoint, Trusting(other)), other.c_str());
}

TEST_F(TlsCheckTest, TellsWhichHostTheCertificateDoesNotName) {
  const Certificate certificate = MakeCertificate(folder_, "server", "DNS:trainer.example");
  ExpectRefused(CheckTls(Serve(certificate), Trusting(certificate.cert)), "does not name 127.0.0.1");
}

TEST_F(TlsCheckTest, TheNameOfPeersIsAskedOfActorsAndOfNobodyElse) {
  const Certificate certificate = MakeCertificate(folder_, "actor", "DNS:actors.flowawr");
  v1::NetworkConfig network = Trusting(certificate.cert);
  network.set_peer_tls_name("actors.flowawr");
  const std::string endpoint = Serve(certificate);
  EXPECT_EQ(CheckTls(endpoint, network, Callee::kActor), absl::OkStatus());
  ExpectRefused(CheckTls(endpoint, network), "does not name 127.0.0.1; use a name that it has, or");
  network.set_peer_tls_name("actors.example");
  ExpectRefused(CheckTls(endpoint, network, Callee::kActor), "does not name actors.example");
}

TEST_F(TlsCheckTest, FindsNothingWhereNobodyAnswers) {
  const Certificate certificate = MakeCertificate(folder_, "server");
  const std::string endpoint = Serve(certificate);
  server_.reset();
  EXPECT_EQ(CheckTls(endpoint, Trusting(certificate.cert)), absl::OkStatus());
  EXPECT_EQ(CheckTls("no address", {}), absl::OkStatus());
}

// A listener that accepts and says nothing: the check ends by itself.
TEST_F(TlsCheckTest, FindsNothingWhereTheServerIsSilent) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(listen(fd, 1), 0);
  ASSERT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
  const std::string endpoint = absl::StrCat("127.0.0.1:", ntohs(address.sin_port));
  EXPECT_EQ(CheckTls(endpoint, Trusting(MakeCertificate(folder_, "server").cert)), absl::OkStatus());
  close(fd);
}

TEST_F(TlsCheckTest, ExplainsWhatAnUnavailableServerAndARefusalMean) {
  const std::string endpoint = Serve(MakeCertificate(folder_, "server"));
  const absl::Status unavailable = absl::UnavailableError("Socket closed");
  ExpectRefused(ExplainFailure(unavailable, endpoint, {}), "set network.tls_ca");
  ExpectRefused(ExplainFailure(unavailable, endpoint, {}), "--network-config");
  const absl::Status refused = ExplainFailure(absl::UnauthenticatedError("the token is wrong"), endpoint, {});
  EXPECT_EQ(refused.code(), absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("the token is wrong; --network-config names"));
  const absl::Status internal = absl::InternalError("broken");
  EXPECT_EQ(ExplainFailure(internal, endpoint, {}), internal);
  server_.reset();
  EXPECT_EQ(ExplainFailure(unavailable, endpoint, {}), unavailable);
}

}  // namespace
}  // namespace flowawr
