// The example of a reward in Python, as users start it: trained against, asked for prompts, asked badly.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "absl/strings/str_cat.h"
#include "common/rpc/channel.h"
#include "common/rpc/status.h"
#include "flowawr/v1/reward.grpc.pb.h"
#include "tests/system/cluster.h"
#include "tests/testing/python.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;

class PythonRewardTest : public ::testing::Test {
 protected:
  PythonRewardTest() : server_({absl::StrCat(SourceFolder(), "/.venv/bin/python"),
                                absl::StrCat(SourceFolder(), "/python/reward_example.py"), "--endpoint-file",
                                folder_ / "endpoint"},
                               folder_ / "log") {
    endpoint_ = AwaitEndpoint(folder_ / "endpoint", server_);
    stub_ = v1::RewardService::NewStub(MakeChannel(endpoint_, {}).value());
  }
  ~PythonRewardTest() override {
    server_.Signal(SIGTERM);
    EXPECT_EQ(server_.Wait(), 0);
    ShowLogOfFailure(folder_ / "log");
  }
  template <typename Method, typename Request, typename Response>
  absl::Status Call(Method method, const Request& request, Response& response) {
    return FromGrpc((stub_.get()->*method)(MakeContext(kPatience, {}).get(), request, &response));
  }

  const TempFolder folder_;
  Process server_;
  std::string endpoint_;
  std::unique_ptr<v1::RewardService::Stub> stub_;
};

TEST_F(PythonRewardTest, ARunTrainsOnIt) {
  Cluster cluster({"rewards.terms.0.scorer=warmth", "prompts.heldout=", "evaluation.every_updates=0"});
  cluster.UseRewards(endpoint_);
  cluster.StartLearner();
  cluster.StartActor("actor-0");
  cluster.ExpectToFinish();
  EXPECT_FALSE(cluster.ExportedAdapter().empty());
}

TEST_F(PythonRewardTest, GivesRewardsTypedErrorsAndWhatIsWrongWithPrompts) {
  v1::ScoreRequest request;
  request.set_scorer("warmth");
  v1::ScoreItem item;
  item.set_height(1);
  item.set_width(2);
  item.set_image_rgb(std::string("\xFF\x00\x00\xFF\x00\x00", 6));
  *request.add_items() = item;
  (*item.mutable_metadata())["want"] = "cold";
  *request.add_items() = item;
  (*item.mutable_metadata())["want"] = "mild";
  *request.add_items() = item;
  item.set_height(7);
  *request.add_items() = item;
  v1::ScoreResponse response;
  ASSERT_TRUE(Call(&v1::RewardService::Stub::Score, request, response).ok());
  ASSERT_EQ(response.results_size(), 4);
  EXPECT_EQ(response.results(0).reward(), 1);
  EXPECT_EQ(response.results(0).details().at("red"), "255");
  EXPECT_EQ(response.results(1).reward(), -1);
  EXPECT_THAT(response.results(2).error().message(), HasSubstr("expected warm or cold"));
  EXPECT_EQ(response.results(3).error().kind(), v1::ScoreError::BAD_INPUT);

  v1::CheckPromptsRequest check;
  check.set_scorer("warmth");
  check.add_prompts()->set_text("a sign");
  (*check.add_prompts()->mutable_metadata())["want"] = "mild";
  v1::CheckPromptsResponse faults;
  ASSERT_TRUE(Call(&v1::RewardService::Stub::CheckPrompts, check, faults).ok());
  ASSERT_EQ(faults.faults_size(), 1);
  EXPECT_EQ(faults.faults(0).index(), 1);

  request.set_scorer("telepathy");
  EXPECT_TRUE(absl::IsNotFound(Call(&v1::RewardService::Stub::Score, request, response)));
}

}  // namespace
}  // namespace flowawr
