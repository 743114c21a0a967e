// Prompts that cannot be scored, and prompts that change, found out before anything is drawn: real processes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "tests/system/cluster.h"
#include "tests/system/live_run.h"

namespace flowawr {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kTrain[] =
    "a sign that says \"CAT\"\na sign that says DOG\na sign that says “SUN”\n\na sign that says \"\"\n"
    "a sign that says \"KEY\"\n";

class PromptsTest : public ::testing::Test {
 protected:
  PromptsTest() {
    train_ = folder_.Write("train.txt", kTrain);
    heldout_ = folder_.Write("heldout.txt", "a sign that says \"HEN\"\na sign that says HEN\n");
  }
  std::vector<std::string> Settings() const {
    return {"rewards.terms.0.scorer=ocr", "train.updates=3", absl::StrCat("prompts.train=", train_)};
  }
  // Until it serves: what it would not take is told before.
  static void ExpectToResume(Cluster& cluster) {
    cluster.StartLearner(/*is_resume=*/true);
    cluster.learner().Signal(SIGTERM);
    EXPECT_EQ(cluster.learner().Wait(), 0);
  }
  // A learner that ends by itself.
  struct Ended {
    int exit_code;
    std::string log;
  };
  static Ended RunLearner(Cluster& cluster, const std::vector<std::string>& more) {
    std::vector<std::string> command = {SystemProgram("flowawr-learner"), "--config", cluster.config_path(),
                                        "--reward-endpoint", cluster.reward_endpoint()};
    command.insert(command.end(), more.begin(), more.end());
    Process learner(command, cluster.NewLog("learner"));
    const int exit_code = learner.Wait();
    return {exit_code, learner.log()};
  }

  const TempFolder folder_;
  std::string train_, heldout_;
};

TEST_F(PromptsTest, EveryOneThatCannotBeScoredIsListedBeforeAnythingIsDrawn) {
  Cluster cluster(Settings());
  cluster.StartRewards();
  const Ended learner = RunLearner(cluster, {});
  EXPECT_EQ(learner.exit_code, 78) << learner.log;
  EXPECT_THAT(learner.log, HasSubstr("prompts.train: 2 of 5 prompts can never be scored"));
  EXPECT_THAT(learner.log, HasSubstr("train.txt:2: ocr: the prompt has no double-quoted text"));
  EXPECT_THAT(learner.log, HasSubstr("train.txt:5: ocr: the text that the image should show is empty"));
  EXPECT_THAT(learner.log, HasSubstr("--set prompts.skip_bad=true"));
  EXPECT_THAT(learner.log, Not(HasSubstr("train.txt:3")));
}

TEST_F(PromptsTest, HeldOutOnesToo) {
  std::vector<std::string> settings = Settings();
  settings.push_back(absl::StrCat("prompts.heldout=", heldout_));
  folder_.Write("train.txt", "a sign that says \"CAT\"\n");
  Cluster cluster(settings);
  cluster.StartRewards();
  const Ended learner = RunLearner(cluster, {});
  EXPECT_EQ(learner.exit_code, 78) << learner.log;
  EXPECT_THAT(learner.log, HasSubstr("prompts.heldout: 1 of 2 prompts can never be scored"));
  EXPECT_THAT(learner.log, HasSubstr("heldout.txt:2: ocr"));
}

TEST_F(PromptsTest, ASwapToRewardsThatCannotScoreThemIsRefusedWithAListAndChangesNothing) {
  Cluster cluster({"train.updates=1000", absl::StrCat("prompts.train=", train_),
                   absl::StrCat("prompts.heldout=", heldout_)});
  cluster.StartRewards();
  cluster.StartLearner();
  const auto swap = [&cluster](const std::string& term) {
    return Flowawr({"reward", "swap", "--learner", cluster.learner_endpoint(), "--term", term});
  };
  const auto version = [&cluster] {
    return cluster.WaitForStatus([](const v1::Status&) { return true; }).reward_spec().version();
  };
  const CommandResult refused = swap("ocr");
  EXPECT_EQ(refused.exit_code, 78);
  EXPECT_THAT(refused.output, AllOf(HasSubstr("the rewards stay as they are"),
                                    HasSubstr("prompts.train: 2 of 5 prompts can never be scored"),
                                    HasSubstr("train.txt:2: ocr: the prompt has no double-quoted text"),
                                    HasSubstr("train.txt:5: ocr: "),
                                    HasSubstr("prompts.heldout: 1 of 2 prompts can never be scored"),
                                    HasSubstr("heldout.txt:2: ocr: ")));
  EXPECT_EQ(version(), 1);
  EXPECT_THAT(ReadFile(cluster.run_dir() + "/metrics.jsonl").value_or(""), Not(HasSubstr("reward_spec\",")));
  EXPECT_EQ(swap("ocr,required=false").exit_code, 0);  // a reward that may be missing
  EXPECT_EQ(version(), 2);
  EXPECT_EQ(swap("twin").exit_code, 0);
  EXPECT_EQ(version(), 3);
}

TEST_F(PromptsTest, ARunGoesOnWithoutTheBadOnesAndOnlyWithTheSamePrompts) {
  std::vector<std::string> settings = Settings();
  settings.insert(settings.end(), {"prompts.skip_bad=true", absl::StrCat("prompts.heldout=", heldout_)});
  Cluster cluster(settings);
  cluster.StartAll();
  cluster.ExpectToFinish();  // a bad one would have paused it

  folder_.Write("train.txt", absl::StrCat("# a remark changes nothing\n", kTrain));
  ExpectToResume(cluster);

  std::string edited = kTrain;
  edited.replace(edited.find("KEY"), 3, "BUS");
  folder_.Write("train.txt", edited);
  const Ended refused = RunLearner(cluster, {"--resume"});
  EXPECT_NE(refused.exit_code, 0);
  EXPECT_THAT(refused.log, HasSubstr("prompts.train: "));
  EXPECT_THAT(refused.log, HasSubstr("was changed since the run began"));
  EXPECT_THAT(refused.log, HasSubstr("train.txt:6: a sign that says \"BUS\""));
  EXPECT_THAT(refused.log, HasSubstr("--accept-changed-prompts"));
  cluster.AddArguments({"--accept-changed-prompts"});
  ExpectToResume(cluster);
}

}  // namespace
}  // namespace flowawr
