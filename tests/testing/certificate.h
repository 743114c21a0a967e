// A TLS key with its certificate, for tests.
#pragma once

#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {

struct Certificate {
  std::string key, cert;  // PEM files; self-signed: its own authority
};

// Made in `folder` by the openssl command, for the hosts in `names`.
inline Certificate MakeCertificate(const TempFolder& folder, const std::string& name,
                                   const std::string& names = "DNS:localhost,IP:127.0.0.1") {
  const Certificate made{folder / (name + "-key.pem"), folder / (name + "-cert.pem")};
  const std::string command =
      absl::StrCat("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=", name,
                   " -addext subjectAltName=", names, " -keyout ", made.key, " -out ", made.cert, " 2>/dev/null");
  EXPECT_EQ(std::system(command.c_str()), 0) << "the openssl command is needed: run scripts/setup --tests";
  return made;
}

// Signed by `authority`, which may be a self-signed one of MakeAuthority(). `usage`: "serverAuth", "clientAuth" or both
// with a comma between.
inline Certificate SignCertificate(const TempFolder& folder, const Certificate& authority, const std::string& name,
                                   const std::string& usage = "serverAuth,clientAuth",
                                   const std::string& names = "DNS:localhost,IP:127.0.0.1") {
  const Certificate made{folder / (name + "-key.pem"), folder / (name + "-cert.pem")};
  const std::string command = absl::StrCat(
      "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=", name, " -CA ",
      authority.cert, " -CAkey ", authority.key, " -addext basicConstraints=critical,CA:FALSE -addext subjectAltName=",
      names, " -addext extendedKeyUsage=", usage, " -keyout ", made.key, " -out ", made.cert, " 2>/dev/null");
  EXPECT_EQ(std::system(command.c_str()), 0) << command;
  return made;
}

inline Certificate MakeAuthority(const TempFolder& folder, const std::string& name) {
  const Certificate made{folder / (name + "-key.pem"), folder / (name + "-cert.pem")};
  const std::string command =
      absl::StrCat("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=", name,
                   " -keyout ", made.key, " -out ", made.cert, " 2>/dev/null");
  EXPECT_EQ(std::system(command.c_str()), 0) << "the openssl command is needed: run scripts/setup --tests";
  return made;
}

}  // namespace flowawr
