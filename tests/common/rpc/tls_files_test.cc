#include "common/rpc/tls_files.h"

#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/rpc/channel.h"
#include "common/rpc/server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/certificate.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class TlsFilesTest : public ::testing::Test {
 protected:
  static void Openssl(const std::string& arguments) {
    ASSERT_EQ(std::system(absl::StrCat("openssl ", arguments, " 2>/dev/null").c_str()), 0) << arguments;
  }
  // What a server says that starts with these files.
  static absl::Status Serve(const std::string& key, const std::string& cert) {
    v1::NetworkConfig network;
    network.set_tls_key(key);
    network.set_tls_cert(cert);
    return RpcServer::Start({.listen = "127.0.0.1:0", .network = network}, {}).status();
  }
  static absl::Status Connect(const std::string& authority) {
    v1::NetworkConfig network;
    network.set_tls_ca(authority);
    return MakeChannel("127.0.0.1:1", network).status();
  }
  static void ExpectRefused(const absl::Status& status, const std::string& file, const std::string& why) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr(file), HasSubstr(why)));
  }

  const TempFolder folder_;
  const Certificate good_ = MakeCertificate(folder_, "good");
};

TEST_F(TlsFilesTest, TakesWhatFits) {
  EXPECT_EQ(Serve(good_.key, good_.cert), absl::OkStatus());
  EXPECT_EQ(Connect(good_.cert), absl::OkStatus());
  // Key and chain in one file, and a bundle of authorities, text between them.
  const Certificate other = MakeCertificate(folder_, "other");
  const std::string key = ReadFile(good_.key).value(), cert = ReadFile(good_.cert).value();
  const std::string bundle = folder_.Write("bundle.pem", key + cert + "more:\n" + ReadFile(other.cert).value());
  EXPECT_EQ(Serve(bundle, bundle), absl::OkStatus());
  EXPECT_EQ(Connect(bundle), absl::OkStatus());
}

TEST_F(TlsFilesTest, RefusesAKeyOfAnotherCertificate) {
  const Certificate other = MakeCertificate(folder_, "other");
  ExpectRefused(Serve(other.key, good_.cert), other.key, "does not belong to the key");
  ExpectRefused(Serve(other.key, good_.cert), good_.cert, "network.tls_cert");
}

TEST_F(TlsFilesTest, RefusesAnAuthorityInPlaceOfACertificate) {
  const std::string key = folder_ / "ca-key.pem", cert = folder_ / "ca.pem";
  Openssl(absl::StrCat("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=ca -keyout ", key,
                       " -out ", cert));
  ExpectRefused(Serve(good_.key, cert), cert, "it is an authority's, and the server's own is wanted");
  ExpectRefused(Serve(key, cert), cert, "names no host");
}

TEST_F(TlsFilesTest, RefusesAnExpiredCertificate) {
  const std::string cert = folder_ / "expired.pem", request = folder_ / "request.pem";
  Openssl(absl::StrCat("req -new -key ", good_.key, " -subj /CN=a -out ", request));
  Openssl(absl::StrCat("x509 -req -in ", request, " -signkey ", good_.key, " -days -1 -out ", cert));
  ExpectRefused(Serve(good_.key, cert), cert, "has expired at ");
  ExpectRefused(Connect(cert), cert, "has expired at ");
}

TEST_F(TlsFilesTest, RefusesAnEncryptedKeyWithoutAskingForThePassphrase) {
  const std::string key = folder_ / "encrypted.pem";
  Openssl(absl::StrCat("pkey -in ", good_.key, " -aes256 -passout pass:secret -out ", key));
  ExpectRefused(Serve(key, good_.cert), key, "is encrypted");
}

TEST_F(TlsFilesTest, RefusesWhatIsDamagedOrSomethingElse) {
  const std::string begin = "-----BEGIN CERTIFICATE-----\n", end = "-----END CERTIFICATE-----\n";
  const std::string garbage = folder_.Write("garbage.pem", absl::StrCat(begin, "AAAA\n", end));
  ExpectRefused(Serve(good_.key, garbage), garbage, "certificate 1 cannot be read");
  ExpectRefused(Connect(garbage), garbage, "certificate 1 cannot be read");
  const std::string second = folder_.Write("second.pem", ReadFile(good_.cert).value() + begin + "AA!A\n" + end);
  ExpectRefused(Serve(good_.key, second), second, "certificate 2 cannot be read");
  ExpectRefused(Serve(good_.cert, good_.cert), good_.cert, "holds no private key");
  ExpectRefused(Serve(good_.key, good_.key), good_.key, "holds no certificate");
  ExpectRefused(Connect(good_.key), good_.key, "holds no certificate");
  ExpectRefused(Connect(folder_.Write("text.pem", "no PEM")), "text.pem", "is not a PEM file");
}

}  // namespace
}  // namespace flowawr
