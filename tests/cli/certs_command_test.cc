// `flowawr certs` as people run it; what it made is judged by the openssl command and by real handshakes.
#include "cli/certs_command.h"

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/host_port.h"
#include "common/config/run_config.h"
#include "common/rpc/channel.h"
#include "common/rpc/server.h"
#include "common/rpc/tls_check.h"
#include "common/rpc/token_book.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cli/outcome.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class CertsCommandTest : public ::testing::Test {
 protected:
  Outcome Certs(const std::string& arguments) const {
    return RunFlowawr(folder_, absl::StrCat("certs ", certs_, " ", arguments));
  }
  std::string Read(const std::string& name) const { return ReadFile(certs_ + "/" + name).value_or(""); }
  bool Openssl(const std::string& arguments) const {
    return std::system(absl::StrCat("cd ", certs_, " && openssl ", arguments, " >/dev/null 2>&1").c_str()) == 0;
  }
  std::string Shown(const std::string& certificate) const {
    const std::string file = folder_ / "shown";
    EXPECT_TRUE(Openssl(absl::StrCat("x509 -in ", certificate, " -noout -text -out ", file)));
    return ReadFile(file).value_or("");
  }
  // The section `network` as it was printed: from its first line to the next empty one.
  v1::NetworkConfig Printed(const std::string& output) const {
    const size_t begin = output.find("network:\n"), end = output.find("\n\n", begin);
    const auto network = LoadNetworkConfig(folder_.Write("network.yaml", output.substr(begin, end + 1 - begin)));
    EXPECT_TRUE(network.ok()) << network.status() << "\n" << output;
    return network.value_or(v1::NetworkConfig());
  }

  const TempFolder folder_;
  const std::string certs_ = folder_ / "certs";
};

TEST_F(CertsCommandTest, MakesWhatOpensslVerifiesForTheHostsAsked) {
  const Outcome made = Certs("--host trainer.example --host 192.0.2.7 --host 2001:db8::7 --client lab-7");
  ASSERT_EQ(made.exit_code, 0) << made.output;
  EXPECT_TRUE(Openssl("verify -x509_strict -purpose sslserver -CAfile ca.pem server.pem"));
  EXPECT_TRUE(Openssl("verify -x509_strict -purpose sslclient -CAfile ca.pem server.pem"));
  EXPECT_TRUE(Openssl("verify -x509_strict -purpose sslclient -CAfile ca.pem client-lab-7.pem"));
  EXPECT_FALSE(Openssl("verify -purpose sslserver -CAfile ca.pem client-lab-7.pem"));
  for (const char* host : {"-verify_hostname trainer.example", "-verify_hostname localhost", "-verify_ip 192.0.2.7",
                           "-verify_ip 2001:db8::7", "-verify_ip 127.0.0.1", "-verify_ip ::1"})
    EXPECT_TRUE(Openssl(absl::StrCat("verify ", host, " -CAfile ca.pem server.pem"))) << host;
  EXPECT_FALSE(Openssl("verify -verify_hostname other.example -CAfile ca.pem server.pem"));
  EXPECT_THAT(Shown("ca.pem"), AllOf(HasSubstr("CA:TRUE, pathlen:0"), HasSubstr("Certificate Sign")));
  EXPECT_THAT(Shown("server.pem"),
              AllOf(HasSubstr("CA:FALSE"), HasSubstr("TLS Web Server Authentication, TLS Web Client")));
}

TEST_F(CertsCommandTest, WhatItPrintsServesAndIsReached) {
  const Outcome made = Certs("--tokens");
  ASSERT_EQ(made.exit_code, 0) << made.output;
  v1::NetworkConfig network = Printed(made.output);
  network.set_mutual_tls(true);
  const auto server = RpcServer::Start({.listen = "127.0.0.1:0", .network = network}, {});
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_EQ(CheckTls((*server)->endpoint(), network), absl::OkStatus());
  EXPECT_EQ(CheckTls(absl::StrCat("localhost:", ParseHostPort((*server)->endpoint())->port), network),
            absl::OkStatus());
  v1::NetworkConfig stranger = network;
  stranger.set_mutual_tls(false);
  EXPECT_FALSE(CheckTls((*server)->endpoint(), stranger).ok());
}

TEST_F(CertsCommandTest, KeysAndTokensAreTheirOwnersAlone) {
  const Outcome made = Certs("--tokens --client a");
  ASSERT_EQ(made.exit_code, 0) << made.output;
  int secrets = 0;
  for (const auto& entry : std::filesystem::directory_iterator(certs_)) {
    const std::string name = entry.path().filename();
    struct stat file {};
    ASSERT_EQ(stat(entry.path().c_str(), &file), 0);
    const bool is_secret = name.find("key") != std::string::npos || name.find("token") != std::string::npos;
    secrets += is_secret;
    EXPECT_EQ(file.st_mode & 0777, is_secret ? 0600 : 0644) << name;
    if (name.find("token") != std::string::npos) {
      EXPECT_THAT(made.output, Not(HasSubstr(Read(name).substr(0, 64))));
    }
  }
  EXPECT_EQ(secrets, 3 + 5);
}

TEST_F(CertsCommandTest, WritesOverNothingUnlessToldTo) {
  ASSERT_EQ(Certs("--tokens --client a").exit_code, 0);
  const std::string authority = Read("ca.pem"), server = Read("server.pem"), client = Read("client-a.pem"),
                    token = Read("token");
  EXPECT_EQ(Certs("--tokens").exit_code, 0) << "makes what is missing, which is nothing";
  Outcome refused = Certs("--host trainer.example");
  EXPECT_EQ(refused.exit_code, 73);
  EXPECT_THAT(refused.output, HasSubstr("--renew"));
  EXPECT_EQ(Certs("--client a").exit_code, 73);
  EXPECT_EQ(Certs("--client b").exit_code, 0);
  EXPECT_EQ(Read("server.pem"), server);
  EXPECT_EQ(Read("client-a.pem"), client);
  EXPECT_EQ(Read("token"), token);

  EXPECT_EQ(Certs("--renew --tokens --host trainer.example").exit_code, 0);
  EXPECT_EQ(Read("ca.pem"), authority);
  EXPECT_NE(Read("server.pem"), server);
  EXPECT_TRUE(Openssl("verify -verify_hostname trainer.example -CAfile ca.pem server.pem"));
  EXPECT_EQ(Read("client-a.pem"), client);
  EXPECT_THAT(Read("token"), AllOf(HasSubstr(token), Not(::testing::StartsWith(token)))) << "new, then old";
  v1::NetworkConfig network;
  network.set_token_file(certs_ + "/token");
  EXPECT_EQ(TokenBook::Open(network).value()->RoleOf(token.substr(0, 64)), Role::kAll);
  EXPECT_EQ(Certs("--renew --client a").exit_code, 0);
  EXPECT_NE(Read("client-a.pem"), client);
}

// The authority's key lies elsewhere, as the page advises; one file was emptied by whatever went wrong.
TEST_F(CertsCommandTest, RenewsTokensAloneWithoutTheAuthority) {
  ASSERT_EQ(Certs("--tokens").exit_code, 0);
  const std::string server = Read("server.pem"), token = Read("token");
  std::filesystem::remove(certs_ + "/ca-key.pem");
  ASSERT_TRUE(WriteFileAtomically(certs_ + "/actor-token", "").ok());
  EXPECT_EQ(Certs("--tokens --renew").exit_code, 0);
  EXPECT_EQ(Read("server.pem"), server);
  EXPECT_THAT(Read("token"), AllOf(HasSubstr(token), Not(::testing::StartsWith(token))));
  EXPECT_EQ(Read("actor-token").size(), 64u + 1u);
  ASSERT_TRUE(WriteFileAtomically(certs_ + "/actor-token", "short").ok());
  EXPECT_EQ(Certs("--tokens").exit_code, 0) << "what holds no token is as good as missing";
  EXPECT_EQ(Read("actor-token").size(), 64u + 1u);
  EXPECT_EQ(Certs("--renew").exit_code, 66) << "a certificate needs it";

  // A token beside something wrong is no file to write over, and then none is.
  const std::string before = Read("token");
  ASSERT_TRUE(WriteFileAtomically(certs_ + "/operator-token", before + "short\n").ok());
  EXPECT_EQ(Certs("--tokens").exit_code, 78);
  EXPECT_EQ(Certs("--tokens --renew").exit_code, 78);
  EXPECT_EQ(Read("operator-token"), before + "short\n");
  EXPECT_EQ(Read("token"), before);
  std::filesystem::remove(certs_ + "/operator-token");
  std::filesystem::remove(certs_ + "/server.pem");
  std::filesystem::remove(certs_ + "/server-key.pem");
  EXPECT_EQ(Certs("--tokens --renew").exit_code, 0) << "a folder of tokens alone";
  EXPECT_EQ(Read("server.pem"), "");
}

TEST_F(CertsCommandTest, ShowsTheSectionOfAClient) {
  const Outcome made = Certs("--client lab-7");
  EXPECT_THAT(made.output, AllOf(HasSubstr("mutual_tls: true\n  tls_cert: "), HasSubstr("/client-lab-7.pem\n"),
                                 HasSubstr("/client-lab-7-key.pem\n")));
}

TEST_F(CertsCommandTest, ARenewalKeepsTheHostsAndAddsMore) {
  ASSERT_EQ(Certs("--host trainer.example --host 192.0.2.7 --host 2001:db8::7").exit_code, 0);
  const std::string before = Read("server.pem");
  ASSERT_EQ(Certs("--renew").exit_code, 0);
  EXPECT_NE(Read("server.pem"), before);
  ASSERT_EQ(Certs("--renew --host other.example").exit_code, 0);
  for (const char* host : {"-verify_hostname trainer.example", "-verify_hostname other.example",
                           "-verify_hostname localhost", "-verify_ip 192.0.2.7", "-verify_ip 2001:db8::7"})
    EXPECT_TRUE(Openssl(absl::StrCat("verify ", host, " -CAfile ca.pem server.pem"))) << host;
  ASSERT_TRUE(WriteFileAtomically(certs_ + "/server.pem", "damaged").ok());
  EXPECT_THAT(Certs("--renew").output, HasSubstr("name all its hosts by --host"));
}

TEST_F(CertsCommandTest, SaysWhatIsWrong) {
  EXPECT_THAT(Certs("--host https://trainer.example").output, HasSubstr("neither the name of a host"));
  EXPECT_THAT(Certs("--host trainer.example:7000").output, HasSubstr("without port"));
  EXPECT_THAT(Certs("--client ../a").output, HasSubstr("a name has 1 to 64"));
  for (const char* mistake : {"--host https://trainer.example", "--client ../a", "--days 0"})
    EXPECT_EQ(Certs(mistake).exit_code, 64) << mistake;
  EXPECT_THAT(Certs("--renew").output, HasSubstr("nothing to renew"));
  EXPECT_FALSE(std::filesystem::exists(certs_)) << "nothing was made";
  ASSERT_EQ(Certs("").exit_code, 0);
  ASSERT_TRUE(WriteFileAtomically(certs_ + "/ca-key.pem", Read("server-key.pem")).ok());
  EXPECT_THAT(Certs("--client a").output, HasSubstr("do not belong together"));
}

}  // namespace
}  // namespace flowawr
