// `flowawr health` as containers run it, against a real reward server.
#include "cli/health_command.h"

#include <signal.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/rpc/endpoint_file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cli/outcome.h"
#include "tests/system/process.h"
#include "tests/testing/certificate.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;

class HealthCommand : public ::testing::Test {
 protected:
  // Serves `size` until the end of the test; `network` is the text of a section.
  void Serve(const std::string& network = "") {
    std::vector<std::string> command = {absl::StrCat(std::getenv("FLOWAWR_BUILD_DIR"), "/bin/flowawr-reward-server"),
                                        "--listen=127.0.0.1:0", "--scorer=size=jpeg_compressibility",
                                        "--endpoint-file=" + (folder_ / "endpoint"),
                                        "--metrics-endpoint-file=" + (folder_ / "metrics")};
    if (!network.empty()) command.push_back("--network-config=" + folder_.Write("server.yaml", network));
    server_ = std::make_unique<Process>(command, folder_ / "server.log");
    const absl::Time limit = absl::Now() + kPatience;
    while (absl::Now() < limit && !ReadEndpointFile(folder_ / "endpoint").ok())
      if (server_->WaitForExit(absl::Milliseconds(5))) break;
    ASSERT_TRUE(ReadEndpointFile(folder_ / "endpoint").ok()) << server_->log();
  }
  std::string address() const { return ReadEndpointFile(folder_ / "endpoint").value_or("none"); }
  std::string metrics() const { return ReadEndpointFile(folder_ / "metrics").value_or("none"); }

  // Time enough for a busy machine; what is told is not about time.
  Outcome Ask(const std::string& arguments, const std::string& before = "") const {
    return RunFlowawr(folder_, absl::StrCat("health --timeout 60 ", arguments), before);
  }
  void ExpectAnswer(const Outcome& outcome, int exit_code, const std::string& text) const {
    EXPECT_EQ(outcome.exit_code, exit_code) << outcome.output;
    EXPECT_THAT(outcome.output, HasSubstr(text));
    EXPECT_EQ(std::count(outcome.output.begin(), outcome.output.end(), '\n'), 1) << outcome.output;
  }

  const TempFolder folder_;
  std::unique_ptr<Process> server_;
};

TEST_F(HealthCommand, TellsWhetherAServerAndAPartOfItServe) {
  Serve();
  ExpectAnswer(Ask("--address " + address()), 0, address() + " serves");
  ExpectAnswer(Ask(absl::StrCat("--address ", address(), " --service flowawr.scorer.size")), 0,
               "flowawr.scorer.size serves");
  ExpectAnswer(Ask(absl::StrCat("--address ", address(), " --service flowawr.scorer.ocr")), 69,
               "has no flowawr.scorer.ocr");
  ExpectAnswer(Ask("--metrics " + metrics()), 0, metrics() + " serves");
}

TEST_F(HealthCommand, AsksWhatTheEnvironmentNamesWhereNothingIsNamed) {
  Serve();
  ExpectAnswer(Ask("", absl::StrCat("FLOWAWR_HEALTH_ADDRESS=", address(), " ")), 0, address() + " serves");
  ExpectAnswer(Ask("", absl::StrCat("FLOWAWR_HEALTH_ADDRESS=", address(), " FLOWAWR_HEALTH_METRICS=", metrics(), " ")),
               0, metrics() + " serves");
  ExpectAnswer(Ask(""), 64, "name one of RUN_DIR");
  ExpectAnswer(Ask(absl::StrCat("--address ", address(), " --metrics ", metrics())), 64, "name one of RUN_DIR");
}

TEST_F(HealthCommand, TellsThatNobodyAnswers) {
  Serve();
  const std::string was = address(), metrics_was = metrics();
  server_->Signal(SIGSTOP);
  // A process that is stopped takes connections and says nothing.
  const Outcome silent = RunFlowawr(folder_, "health --timeout 0.5 --address " + was);
  ExpectAnswer(silent, 69, "does not answer");
  server_->Kill();
  ExpectAnswer(Ask("--address " + was), 69, "does not answer");
  ExpectAnswer(Ask("--metrics " + metrics_was), 69, "does not answer");
  ExpectAnswer(Ask(folder_.path()), 66, "");
}

TEST_F(HealthCommand, SpeaksTlsAndShowsAToken) {
  const Certificate certificate = MakeCertificate(folder_, "server");
  const Certificate other = MakeCertificate(folder_, "other");
  const std::string token = folder_.Write("token", "correct-horse-battery-staple\n");
  const std::string wrong = folder_.Write("wrong", "incorrect-horse-battery-staple\n");
  Serve(absl::StrCat("network: {tls_cert: ", certificate.cert, ", tls_key: ", certificate.key, ", tls_ca: ",
                     certificate.cert, ", token_file: ", token, ", metrics_tls: true}\n"));
  const auto with = [&](const std::string& ca, const std::string& token_file) {
    return absl::StrCat(
        " --network-config ",
        folder_.Write("client.yaml", absl::StrCat("network: {tls_ca: ", ca, ", token_file: ", token_file,
                                                  ", tls_cert: ", certificate.cert, ", tls_key: ", certificate.key,
                                                  ", metrics_tls: true}\n")));
  };
  ExpectAnswer(Ask(absl::StrCat("--address ", address(), with(certificate.cert, token))), 0, "serves");
  ExpectAnswer(Ask(absl::StrCat("--metrics ", metrics(), with(certificate.cert, token))), 0, "serves");
  ExpectAnswer(Ask(absl::StrCat("--address ", address(), with(certificate.cert, wrong))), 77, "token");
  ExpectAnswer(Ask(absl::StrCat("--address ", address(), with(other.cert, token))), 77, "tls_ca");
  ExpectAnswer(Ask(absl::StrCat("--metrics ", metrics(), with(other.cert, token))), 77, "tls_ca");
  EXPECT_NE(Ask("--address " + address()).exit_code, 0);
}

TEST_F(HealthCommand, SendsNoTokenUnencryptedThroughANetwork) {
  const std::string network = folder_.Write(
      "n.yaml", absl::StrCat("network: {token_file: ", folder_.Write("t", "correct-horse-battery-staple"), "}"));
  for (const char* flag : {"--metrics", "--address"}) {
    // An address for documentation: nobody is there, and nothing is sent to find that out.
    ExpectAnswer(Ask(absl::StrCat(flag, " 192.0.2.1:9101 --network-config ", network)), 77, "unencrypted");
  }
}

}  // namespace
}  // namespace flowawr
