#include "cli/prometheus_targets.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "common/base/file.h"
#include "common/rpc/endpoint_file.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class PrometheusTargetsTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(MakeDirectories(folder_.path() + "/endpoints").ok()); }
  void Tell(const std::string& process, const std::string& endpoint) {
    ASSERT_TRUE(WriteEndpointFile(folder_.path() + "/endpoints/" + process + ".metrics", endpoint).ok());
  }
  std::string File() const { return ReadFile(folder_.path() + "/" + PrometheusTargetsFile::kName).value_or("none"); }

  TempFolder folder_;
};

TEST_F(PrometheusTargetsTest, NamesProcessesByJobAndInstance) {
  const std::vector<PrometheusTarget> targets = {
      {"learner", "127.0.0.1:1"}, {"actor-1", "[::1]:2"}, {"reward-server", "h:3"}, {"rank-1", "h:4"}};
  const auto json = nlohmann::json::parse(PrometheusTargetsJson("my run", /*speaks_tls=*/false, targets));
  ASSERT_EQ(json.size(), 4u);
  EXPECT_EQ(json[0]["targets"], nlohmann::json({"127.0.0.1:1"}));
  EXPECT_EQ(json[0]["labels"],
            (nlohmann::json{
                {"__scheme__", "http"}, {"job", "flowawr-learner"}, {"run", "my run"}, {"instance", "learner"}}));
  EXPECT_EQ(json[1]["labels"]["job"], "flowawr-actor");
  EXPECT_EQ(json[1]["labels"]["instance"], "actor-1");
  EXPECT_EQ(json[2]["labels"]["job"], "flowawr-reward-server");
  EXPECT_EQ(json[3]["labels"]["job"], "flowawr-rank");
  EXPECT_EQ(json[3]["labels"]["instance"], "rank-1");
}

TEST_F(PrometheusTargetsTest, SaysThatPagesSpeakTls) {
  const std::vector<PrometheusTarget> targets = {{"learner", "127.0.0.1:1"}};
  const auto json = nlohmann::json::parse(PrometheusTargetsJson("run", /*speaks_tls=*/true, targets));
  EXPECT_EQ(json[0]["labels"]["__scheme__"], "https");
}

TEST_F(PrometheusTargetsTest, FollowsAProcessThatStartsAgainAtAnotherAddress) {
  PrometheusTargetsFile file(folder_.path(), "run", /*speaks_tls=*/false);
  file.Add("actor-0");
  file.Refresh(absl::UnixEpoch());
  EXPECT_THAT(File(), Not(HasSubstr("actor-0"))) << "it has told no address yet";
  Tell("actor-0", "127.0.0.1:7001");
  file.Refresh(absl::UnixEpoch() + absl::Milliseconds(500));
  EXPECT_THAT(File(), Not(HasSubstr("7001"))) << "at most once a second";
  file.Refresh(absl::UnixEpoch() + absl::Seconds(1));
  EXPECT_THAT(File(), HasSubstr("127.0.0.1:7001"));
  Tell("actor-0", "127.0.0.1:7002");
  file.Refresh(absl::UnixEpoch() + absl::Seconds(2));
  EXPECT_THAT(File(), HasSubstr("127.0.0.1:7002"));
  EXPECT_THAT(File(), Not(HasSubstr("7001")));
}

TEST_F(PrometheusTargetsTest, LeavesAnEmptyListBehind) {
  {
    PrometheusTargetsFile file(folder_.path(), "run", /*speaks_tls=*/false);
    file.Add("learner");
    Tell("learner", "127.0.0.1:7000");
    file.Refresh(absl::UnixEpoch());
    EXPECT_THAT(File(), HasSubstr("7000"));
  }
  EXPECT_EQ(nlohmann::json::parse(File()), nlohmann::json::array());
}

}  // namespace
}  // namespace flowawr
