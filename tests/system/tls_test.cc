// TLS and token between real processes: training works with both, a client with other settings is told what to change,
// nothing listens to the network in clear, and the token is nowhere but in its file.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "tests/system/cluster.h"
#include "tests/testing/certificate.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kToken[] = "correct-horse-battery-staple";
constexpr char kWrongToken[] = "incorrect-horse-battery-staple";

class SystemTls : public ::testing::Test {
 protected:
  std::vector<std::string> Settings(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> settings = {"network.tls_cert=" + certificate_.cert, "network.tls_key=" + certificate_.key,
                                         "network.tls_ca=" + certificate_.cert, "network.token_file=" + token_file_};
    settings.insert(settings.end(), more.begin(), more.end());
    return settings;
  }

  // Runs a program to its end.
  static void ExpectToLeave(Cluster& cluster, std::vector<std::string> command, int exit_code,
                            const ::testing::Matcher<std::string>& output) {
    const std::string shown = ::testing::PrintToString(command);
    command[0] = SystemProgram(command[0]);
    const Process process(command, cluster.NewLog("command"));
    EXPECT_EQ(process.Wait(), exit_code) << shown << "\n" << process.log();
    EXPECT_THAT(process.log(), output) << shown;
  }

  // Every log, and every file of the run.
  // Tokens of roles, beside mutual TLS and TLS for pages.
  std::vector<std::string> Roles(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> settings = Settings({"network.mutual_tls=true", "network.metrics_tls=true"});
    for (const std::string role : {"actor", "reward", "operator", "read_only"})
      settings.push_back(absl::StrCat("network.", role, "_token_file=", RoleToken(role)));
    settings.insert(settings.end(), more.begin(), more.end());
    return settings;
  }
  std::string RoleToken(const std::string& role) const {
    return folder_.Write(role + "-token", absl::StrCat("the-token-of-role-", role));
  }

  static void ExpectNowhere(const Cluster& cluster, const std::string& token) {
    int files = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(cluster.folder())) {
      if (!entry.is_regular_file()) continue;
      const auto bytes = ReadFile(entry.path().string());
      ASSERT_TRUE(bytes.ok()) << bytes.status();
      EXPECT_EQ(bytes->find(token), std::string::npos) << entry.path();
      ++files;
    }
    EXPECT_GT(files, 3);
  }

  const TempFolder folder_;
  const Certificate certificate_ = MakeCertificate(folder_, "server");
  const std::string token_file_ = folder_.Write("token", absl::StrCat(kToken, "\n"));
  const std::string wrong_token_file_ = folder_.Write("wrong-token", kWrongToken);
};

TEST_F(SystemTls, TrainsAndShowsTheTokenNowhere) {
  Cluster cluster(Settings({"network.learner_listen=0.0.0.0:0"}));
  cluster.AddArguments({"--log-level", "trace"});
  cluster.StartAll();
  const v1::Status status =
      cluster.WaitForStatus([](const v1::Status& status) { return status.phase() == v1::FINISHED; });
  EXPECT_EQ(status.update(), 6);
  EXPECT_TRUE(status.dropped().empty()) << status.ShortDebugString();
  cluster.ExpectToFinish();
  EXPECT_FALSE(cluster.ExportedAdapter().empty());
  ExpectNowhere(cluster, kToken);
}

TEST_F(SystemTls, StartsInAnyOrderAndOutlivesRestarts) {
  Cluster cluster(Settings({"rewards.terms.0.timeout_s=100", "rollout.max_attempts=100"}));
  cluster.StartRewards();
  cluster.StartLearner();  // tells its address
  cluster.learner().Kill();
  cluster.rewards().Kill();
  cluster.StartActor("early");
  ASSERT_TRUE(
      AwaitText(cluster.actor("early").log_path(), "waiting for the learner at", cluster.actor("early")));
  cluster.StartLearner(true);
  // Scoring is tried before there is a reward server.
  cluster.WaitForStatus([](const v1::Status& status) { return status.open_leases() > 0; });
  cluster.StartRewards();
  cluster.WaitForUpdate(1);
  cluster.learner().Kill();
  ASSERT_TRUE(AwaitText(cluster.actor("early").log_path(), "lost the learner", cluster.actor("early")));
  cluster.rewards().Kill();
  cluster.StartLearner(true);
  cluster.StartRewards();
  cluster.WaitForStatus([](const v1::Status& status) { return status.phase() == v1::FINISHED; });
  cluster.ExpectToFinish();
}

TEST_F(SystemTls, TrainsWithFlowawrRun) {
  // `flowawr run` loads scorers by their kind.
  Cluster cluster(Settings({"train.updates=1", "rewards.terms.0.scorer=jpeg_compressibility"}));
  ExpectToLeave(cluster, {"flowawr", "run", cluster.config_path()}, 0, HasSubstr("1 of 1 updates"));
  EXPECT_FALSE(cluster.ExportedAdapter().empty());
  ExpectNowhere(cluster, kToken);
}

TEST_F(SystemTls, FlowawrRunGivesActorsTheirOwnTokenAlone) {
  Cluster cluster(Roles({"train.updates=1", "rewards.terms.0.scorer=jpeg_compressibility", "local.actors=1"}));
  ExpectToLeave(cluster, {"flowawr", "run", cluster.config_path()}, 0, HasSubstr("1 of 1 updates"));
  EXPECT_FALSE(cluster.ExportedAdapter().empty());
  ExpectNowhere(cluster, kToken);
  ExpectNowhere(cluster, "the-token-of-role-");
}

TEST_F(SystemTls, HoldsRolesBetweenProcesses) {
  Cluster cluster(Roles());
  cluster.StartRewards();
  cluster.StartLearner();
  const auto as = [&](const std::string& role) {
    return folder_.Write("network.yaml",
                         absl::StrCat("network: {tls_ca: ", certificate_.cert, ", tls_cert: ", certificate_.cert,
                                      ", tls_key: ", certificate_.key, ", mutual_tls: true, ", role,
                                      "_token_file: ", RoleToken(role), "}\n"));
  };
  const auto expect = [&](const std::string& role, std::vector<std::string> command, int exit_code,
                          const ::testing::Matcher<std::string>& says) {
    command.insert(command.end(), {"--network-config", as(role)});
    ExpectToLeave(cluster, command, exit_code, says);
  };
  const std::string learner = cluster.learner_endpoint(), rewards = cluster.reward_endpoint();
  expect("actor", {"flowawr", "pause", "--learner", learner}, 77,
         HasSubstr("the token is the actors'; pausing needs an operator's"));
  expect("read_only", {"flowawr", "pause", "--learner", learner}, 77, HasSubstr("the token is for looking only"));
  expect("read_only", {"flowawr", "status", "--learner", learner}, 0, HasSubstr(""));
  expect("operator", {"flowawr", "pause", "--learner", learner}, 0, HasSubstr(""));
  expect("operator", {"flowawr-actor", "--learner", learner}, 77,
         HasSubstr("taking part as an actor needs an actor's"));
  expect("reward", {"flowawr", "reward", "list", "--server", rewards}, 0, HasSubstr("small"));
  expect("reward", {"flowawr", "reward", "unload", "twin", "--server", rewards}, 77,
         HasSubstr("unloading scorers needs an operator's"));
  expect("operator", {"flowawr", "reward", "unload", "twin", "--server", rewards}, 0, HasSubstr(""));
}

TEST_F(SystemTls, GoesOnWhileCertificatesAndTokensAreReplaced) {
  const Certificate authority = MakeAuthority(folder_, "authority"), next_authority = MakeAuthority(folder_, "next-ca");
  const Certificate first = SignCertificate(folder_, authority, "first");
  const Certificate next = SignCertificate(folder_, next_authority, "next");
  const auto install = [&](const Certificate& certificate, const std::string& authorities, const std::string& tokens) {
    folder_.Write("live/ca.pem", authorities);
    folder_.Write("live/cert.pem", ReadFile(certificate.cert).value());
    folder_.Write("live/key.pem", ReadFile(certificate.key).value());
    folder_.Write("live/token", tokens);
  };
  const std::string old_ca = ReadFile(authority.cert).value(), new_ca = ReadFile(next_authority.cert).value();
  install(first, old_ca, "token-number-one");
  const std::string live = folder_ / "live/";
  Cluster cluster({"network.tls_cert=" + live + "cert.pem", "network.tls_key=" + live + "key.pem",
                   "network.tls_ca=" + live + "ca.pem", "network.token_file=" + live + "token",
                   "network.mutual_tls=true", "rewards.terms.0.timeout_s=100", "rollout.max_attempts=100"});
  cluster.StartAll();
  cluster.WaitForUpdate(1);
  install(first, old_ca + new_ca, "token-number-two\ntoken-number-one\n");
  cluster.WaitForUpdate(2);
  install(next, old_ca + new_ca, "token-number-two\n");
  cluster.WaitForUpdate(3);
  // Every connection is new, with the new files; the processes are the old ones but one.
  cluster.rewards().Kill();
  cluster.StartRewards();
  cluster.WaitForUpdate(4);
  install(next, new_ca, "token-number-two\n");
  cluster.WaitForStatus([](const v1::Status& status) { return status.phase() == v1::FINISHED; });
  cluster.ExpectToFinish();
}

TEST_F(SystemTls, TellsAClientWhatToChange) {
  Cluster cluster(Settings());
  cluster.StartRewards();
  cluster.StartLearner();
  const std::string other = MakeCertificate(folder_, "other").cert;
  const struct {
    std::string network;
    int exit_code;
    const char* message;
  } cases[] = {
      {absl::StrCat("{tls_ca: ", certificate_.cert, ", token_file: ", token_file_, "}"), 0, ""},
      {absl::StrCat("{tls_ca: ", certificate_.cert, ", token_file: ", wrong_token_file_, "}"), 77,
       "the token is wrong; use the network.token_file that this server uses"},
      {absl::StrCat("{tls_ca: ", certificate_.cert, "}"), 77, "wants a token; set network.token_file"},
      {absl::StrCat("{token_file: ", token_file_, "}"), 77,
       "it speaks TLS, and this client does not; set network.tls_ca"},
      {"{}", 77, "set network.tls_ca"},
      {absl::StrCat("{tls_ca: ", other, ", token_file: ", token_file_, "}"), 77, "its certificate is not trusted"},
  };
  for (const auto& c : cases) {
    const std::string file = folder_.Write("network.yaml", absl::StrCat("network: ", c.network, "\n"));
    const auto expect = [&](std::vector<std::string> command, const std::string& endpoint) {
      command.insert(command.end(), {endpoint, "--network-config", file});
      ExpectToLeave(cluster, command, c.exit_code,
                    AllOf(HasSubstr(c.message), HasSubstr(c.exit_code == 0 ? "" : endpoint)));
    };
    expect({"flowawr", "status", "--learner"}, cluster.learner_endpoint());
    expect({"flowawr", "reward", "list", "--server"}, cluster.reward_endpoint());
    if (c.exit_code != 0) expect({"flowawr-actor", "--learner"}, cluster.learner_endpoint());  // else it would sample
  }
  ExpectNowhere(cluster, kToken);
  ExpectNowhere(cluster, kWrongToken);
}

TEST_F(SystemTls, TellsAClientWithTlsThatTheServerHasNone) {
  Cluster cluster;
  cluster.StartRewards();
  const std::string file = folder_.Write("network.yaml", absl::StrCat("network: {tls_ca: ", certificate_.cert, "}\n"));
  ExpectToLeave(cluster, {"flowawr", "reward", "list", "--server", cluster.reward_endpoint(), "--network-config", file},
                77, HasSubstr("it does not speak TLS"));
}

TEST_F(SystemTls, RefusesToListenToTheNetworkInClear) {
  Cluster cluster;
  cluster.StartRewards();
  const auto says_what_to_do = AllOf(HasSubstr("0.0.0.0"), HasSubstr("network.insecure: true"));
  const auto offers_tls = AllOf(says_what_to_do, HasSubstr("network.tls_cert"));
  const std::vector<std::string> learner = {"flowawr-learner", "--config", cluster.config_path(), "--reward-endpoint",
                                            cluster.reward_endpoint()};
  const std::vector<std::string> rewards = {"flowawr-reward-server"};
  const std::vector<std::string> actor = {"flowawr-actor", "--learner", "127.0.0.1:1"};
  for (std::vector<std::string> command : {learner, rewards}) {
    command.insert(command.end(), {"--listen", "0.0.0.0:0"});
    ExpectToLeave(cluster, command, 77, offers_tls);
  }
  for (std::vector<std::string> command : {learner, rewards, actor}) {
    command.insert(command.end(), {"--metrics", "0.0.0.0:0"});
    ExpectToLeave(cluster, command, 77, HasSubstr("network.insecure"));
  }
  for (const char* field : {"network.learner_listen", "network.reward_listen"})
    ExpectToLeave(cluster, {"flowawr", "run", cluster.config_path(), "--set", absl::StrCat(field, "=0.0.0.0:0")}, 78,
                  AllOf(offers_tls, HasSubstr(field)));
}

TEST_F(SystemTls, RefusesToSendTheTokenThroughTheNetworkInClear) {
  Cluster cluster;
  const std::string file = folder_.Write("network.yaml", absl::StrCat("network: {token_file: ", token_file_, "}\n"));
  ExpectToLeave(cluster, {"flowawr-actor", "--learner", "192.0.2.1:50051", "--network-config", file}, 77,
                AllOf(HasSubstr("192.0.2.1:50051"), HasSubstr("set network.tls_ca"), Not(HasSubstr(kToken))));
}

TEST_F(SystemTls, ListensToTheNetworkInClearWhenTold) {
  Cluster cluster({"network.learner_listen=0.0.0.0:0", "network.insecure=true"});
  cluster.StartRewards();
  cluster.StartLearner();
  EXPECT_EQ(cluster.WaitForStatus([](const v1::Status&) { return true; }).updates_total(), 6);
}

}  // namespace
}  // namespace flowawr
