// Rewards in Python, as users start them: trained against, asked for prompts, asked badly, over TLS with a token.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "absl/strings/str_cat.h"
#include "common/rpc/channel.h"
#include "common/rpc/status.h"
#include "flowawr/v1/reward.grpc.pb.h"
#include "tests/system/cluster.h"
#include "tests/testing/certificate.h"
#include "tests/testing/python.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;

class PythonRewardTest : public ::testing::Test {
 protected:
  ~PythonRewardTest() override {
    if (server_ == nullptr) return;
    server_->Signal(SIGTERM);
    EXPECT_EQ(server_->Wait(), 0);
    ShowLogOfFailure(folder_ / "log");
  }
  // Returns once it serves.
  void Start(std::vector<std::string> arguments, const v1::NetworkConfig& network = {}) {
    arguments.insert(arguments.begin(), {"/usr/bin/env", absl::StrCat("PYTHONPATH=", SourceFolder(), "/python"),
                                         absl::StrCat(SourceFolder(), "/.venv/bin/python")});
    arguments.insert(arguments.end(), {"--endpoint-file", folder_ / "endpoint"});
    server_ = std::make_unique<Process>(std::move(arguments), folder_ / "log");
    network_ = network;
    endpoint_ = AwaitEndpoint(folder_ / "endpoint", *server_);
    stub_ = v1::RewardService::NewStub(MakeChannel(endpoint_, network).value());
  }
  void StartBrightness() { Start({absl::StrCat(SourceFolder(), "/python/examples/brightness.py")}); }
  template <typename Method, typename Request, typename Response>
  absl::Status Call(Method method, const Request& request, Response& response) {
    return FromGrpc((stub_.get()->*method)(MakeContext(kPatience, network_).get(), request, &response));
  }

  const TempFolder folder_;
  v1::NetworkConfig network_;
  std::unique_ptr<Process> server_;
  std::string endpoint_;
  std::unique_ptr<v1::RewardService::Stub> stub_;
};

v1::ScoreItem WhitePixels() {
  v1::ScoreItem item;
  item.set_height(1);
  item.set_width(2);
  item.set_image_rgb(std::string(6, '\xFF'));
  return item;
}

TEST_F(PythonRewardTest, ARunTrainsOnIt) {
  StartBrightness();
  Cluster cluster({"rewards.terms.0.scorer=brightness", "prompts.heldout=", "evaluation.every_updates=0"});
  cluster.UseRewards(endpoint_);
  cluster.StartLearner();
  cluster.StartActor("actor-0");
  cluster.ExpectToFinish();
  EXPECT_FALSE(cluster.ExportedAdapter().empty());
}

TEST_F(PythonRewardTest, GivesRewardsTypedErrorsAndWhatIsWrongWithPrompts) {
  StartBrightness();
  v1::ScoreRequest request;
  request.set_scorer("brightness");
  v1::ScoreItem item = WhitePixels();
  *request.add_items() = item;
  (*item.mutable_metadata())["want"] = "dark";
  *request.add_items() = item;
  (*item.mutable_metadata())["want"] = "mild";
  *request.add_items() = item;
  item.set_height(7);
  *request.add_items() = item;
  v1::ScoreResponse response;
  ASSERT_TRUE(Call(&v1::RewardService::Stub::Score, request, response).ok());
  ASSERT_EQ(response.results_size(), 4);
  EXPECT_EQ(response.results(0).reward(), 1);
  EXPECT_EQ(response.results(1).reward(), 0);
  EXPECT_THAT(response.results(2).error().message(), HasSubstr("expected bright or dark"));
  EXPECT_EQ(response.results(3).error().kind(), v1::ScoreError::BAD_INPUT);

  v1::CheckPromptsRequest check;
  check.set_scorer("brightness");
  check.add_prompts()->set_text("a sign");
  (*check.add_prompts()->mutable_metadata())["want"] = "mild";
  v1::CheckPromptsResponse faults;
  ASSERT_TRUE(Call(&v1::RewardService::Stub::CheckPrompts, check, faults).ok());
  ASSERT_EQ(faults.faults_size(), 1);
  EXPECT_EQ(faults.faults(0).index(), 1);

  request.set_scorer("telepathy");
  EXPECT_TRUE(absl::IsNotFound(Call(&v1::RewardService::Stub::Score, request, response)));
}

TEST_F(PythonRewardTest, ServesAFunctionOfAnotherTrainerOverTlsWithAToken) {
  const Certificate certificate = MakeCertificate(folder_, "server");
  v1::NetworkConfig network;
  network.set_tls_ca(certificate.cert);
  network.set_token_file(folder_.Write("token", "correct-horse-battery-staple\n"));
  folder_.Write("their_rewards.py",
                "def redness(images, prompts, metadata):\n"
                "    return images[:, 0].mean((1, 2)), {'prompt': prompts}\n");
  Start({"-c",
         absl::StrCat("import os; os.chdir('", folder_.path(), "'); import flowawr_reward.command as c; c.main()"),
         "--function", "their_rewards:redness", "--tls-cert", certificate.cert, "--tls-key", certificate.key,
         "--token-file", network.token_file()},
        network);
  v1::ScoreRequest request;
  request.set_scorer("redness");
  *request.add_items() = WhitePixels();
  request.mutable_items(0)->set_prompt("a red sign");
  v1::ScoreResponse response;
  const absl::Status status = Call(&v1::RewardService::Stub::Score, request, response);
  ASSERT_TRUE(status.ok()) << status;
  ASSERT_EQ(response.results_size(), 1);
  EXPECT_EQ(response.results(0).reward(), 1);
  EXPECT_EQ(response.results(0).details().at("prompt"), "a red sign");

  network_.set_token_file(folder_.Write("wrong", "incorrect-horse-battery-staple\n"));
  stub_ = v1::RewardService::NewStub(MakeChannel(endpoint_, network_).value());
  EXPECT_TRUE(absl::IsUnauthenticated(Call(&v1::RewardService::Stub::Score, request, response)));
}

}  // namespace
}  // namespace flowawr
