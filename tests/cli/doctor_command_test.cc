// `flowawr doctor` and `flowawr run --dry-run` as people run them: a process, the embedded model, real reward servers.
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/rpc/server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cli/outcome.h"
#include "tests/testing/certificate.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

class DoctorTest : public ::testing::Test {
 protected:
  // Of the embedded model, with a run folder that is not there yet.
  Outcome Doctor(const std::string& arguments) {
    return RunFlowawr(folder_, absl::StrCat("doctor configs/tiny-ocr.yaml --run-dir ", folder_ / "run",
                                            " --no-time ", arguments));
  }
  // Where nothing needs a reward server.
  Outcome Quick(const std::string& arguments) { return Doctor("--no-scorers " + arguments); }

  const TempFolder folder_;
};

TEST_F(DoctorTest, FindsTheShippedRunWellAndLeavesNothingBehind) {
  const Outcome outcome = Doctor("");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  for (const char* line :
       {"ok    processor    instruction set ", "ok    LibTorch ", "ok    model        models/tiny-sd3 is whole",
        "ok    memory       learner and actors need ", "ok    run folder ", "ok    disk ", "ok    port ",
        "ok    reward       ocr loads and gives rewards", ": the rewards can score all "})
    EXPECT_THAT(outcome.output, HasSubstr(line));
  EXPECT_THAT(outcome.output, Not(HasSubstr("bad ")));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "run"));
}

TEST_F(DoctorTest, LooksAtTheMachineAlone) {
  const Outcome outcome = RunFlowawr(folder_, "doctor");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_THAT(outcome.output, AllOf(HasSubstr("ok    processor"), Not(HasSubstr("model"))));
}

TEST_F(DoctorTest, IsWhatADryRunSaysAndTellsHowLongItTakes) {
  const Outcome outcome = RunFlowawr(folder_, absl::StrCat("run configs/tiny-ocr.yaml --dry-run --run-dir ",
                                                           folder_ / "run", " --set train.updates=7"));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_THAT(outcome.output, ContainsRegex("ok    time         about .* for 7 updates"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "run"));
}

TEST_F(DoctorTest, TellsEveryFaultAtOnce) {
  std::string first = "a sign that says \"A\"\n", second = first;
  const std::string train = folder_.Write("train.txt", absl::StrCat("a sign that says \"HELLO\"\n", first));
  const std::string heldout = folder_.Write("heldout.txt", second);
  const std::string token = folder_.Write("token", "short");
  const Outcome outcome = Quick(absl::StrCat("--set prompts.train=", train, " --set prompts.heldout=", heldout,
                                             " --set network.token_file=", token, " --set checkpoint.copy_to=", token,
                                             "/copies"));
  EXPECT_EQ(outcome.exit_code, 78) << outcome.output;
  EXPECT_THAT(outcome.output,
              AllOf(HasSubstr("warn  prompts      1 prompts of " + heldout + " are in another of the files too"),
                    HasSubstr("bad   token        network.token_file"),
                    HasSubstr("bad   disk         checkpoint.copy_to: " + token + " is no folder"),
                    HasSubstr("checks are bad")));
}

TEST_F(DoctorTest, TellsOnePortForTwoServersAndCopiesInsideTheRun) {
  const Outcome outcome =
      Quick(absl::StrCat("--set network.learner_listen=127.0.0.1:7000 --set network.reward_listen=127.0.0.1:7000 ",
                         "--set checkpoint.copy_to=", folder_ / "run", "/copies"));
  EXPECT_EQ(outcome.exit_code, 78) << outcome.output;
  EXPECT_THAT(
      outcome.output,
      AllOf(HasSubstr("bad   port         network.reward_listen: 127.0.0.1:7000 is the learner's port, too"),
            HasSubstr("bad   disk         checkpoint.copy_to: " + (folder_ / "run") + "/copies is the run's own")));
}

TEST_F(DoctorTest, TellsADeviceAndAnAdapterThatAreNotThereUnderTheirOwnNames) {
  const Outcome outcome = Quick("--set train.devices=[fake:7] --set lora.init_from=nowhere");
  EXPECT_EQ(outcome.exit_code, 78) << outcome.output;
  EXPECT_THAT(outcome.output, AllOf(HasSubstr("bad   devices      train.devices: fake:7: no such device"),
                                    HasSubstr("bad   adapter      lora.init_from: nowhere does not exist"),
                                    HasSubstr("ok    run folder "), HasSubstr("ok    disk "), HasSubstr("2 of ")));
}

TEST_F(DoctorTest, TellsAChoiceOfKernelsThatIsNone) {
  setenv("FLOWAWR_CUDA_KERNELS", "junk", /*overwrite=*/1);
  const Outcome outcome = RunFlowawr(folder_, "doctor");
  unsetenv("FLOWAWR_CUDA_KERNELS");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("warn  devices      FLOWAWR_CUDA_KERNELS=junk: it is \"on\" or \"off\""));
}

TEST_F(DoctorTest, AsksTheRewardServersThatAreNamed) {
  const Outcome outcome = Quick("--set rewards.terms.0.endpoint=127.0.0.1:1");
  EXPECT_EQ(outcome.exit_code, 78) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("bad   reward       no reward server answers at 127.0.0.1:1"));
}

TEST_F(DoctorTest, AsksTheScorersAboutThePrompts) {
  const std::string train = folder_.Write("train.txt", "a sign that says \"A\"\na red sign\n");
  const Outcome outcome = Doctor(absl::StrCat("--set prompts.train=", train));
  EXPECT_EQ(outcome.exit_code, 78) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("can never score 1 of 2, e.g. " + train + ":2"));
}

TEST_F(DoctorTest, TellsAPortThatIsTakenAndAScorerThatCannotBeLoaded) {
  v1::NetworkConfig network;
  network.set_max_message_mib(1);
  const auto listener = RpcServer::Start({.listen = "127.0.0.1:0", .network = network}, {}).value();
  const Outcome outcome = Doctor(absl::StrCat("--set network.learner_listen=", listener->endpoint(),
                                              " --set rewards.terms.0.options.language=xyz"));
  EXPECT_EQ(outcome.exit_code, 78) << outcome.output;
  EXPECT_THAT(outcome.output, AllOf(HasSubstr("bad   port         network.learner_listen: cannot listen on " +
                                              listener->endpoint()),
                                    HasSubstr("bad   reward       scorer ocr: "), HasSubstr("xyz")));
}

TEST_F(DoctorTest, TellsWhenACertificateEndsAndWhoMayReadItsKey) {
  const Certificate made = MakeCertificate(folder_, "server");  // for two days
  chmod(made.key.c_str(), 0644);
  const Outcome outcome = Quick(absl::StrCat("--set network.tls_cert=", made.cert, " --set network.tls_key=", made.key,
                                             " --set network.tls_ca=", made.cert));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_THAT(outcome.output, AllOf(HasSubstr("warn  certificate  " + made.cert + " expires in 1 days"),
                                    HasSubstr("chmod 600"), HasSubstr("would trust each other")));
  const Certificate other = MakeCertificate(folder_, "other");
  const Outcome refused = Quick(absl::StrCat("--set network.tls_cert=", made.cert, " --set network.tls_key=", made.key,
                                             " --set network.tls_ca=", other.cert));
  EXPECT_EQ(refused.exit_code, 78) << refused.output;
  EXPECT_THAT(refused.output, HasSubstr("bad   certificate"));
}

TEST_F(DoctorTest, IsReadByProgramsToo) {
  const Outcome outcome = Quick("--json --set model.path=nowhere");
  EXPECT_EQ(outcome.exit_code, 78);
  const auto json = nlohmann::json::parse(outcome.output.substr(0, outcome.output.rfind("}") + 1), nullptr, false);
  ASSERT_TRUE(json.is_object()) << outcome.output;
  EXPECT_EQ(json["bad"], 1);
  bool has_model = false;
  for (const auto& check : json["checks"])
    has_model = has_model || (check["subject"] == "model" && check["level"] == "bad");
  EXPECT_TRUE(has_model) << outcome.output;
}

}  // namespace
}  // namespace flowawr
