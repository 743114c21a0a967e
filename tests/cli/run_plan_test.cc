#include "cli/run_plan.h"

#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/run_folder.h"
#include "common/base/file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;
using ::testing::Not;

class PlanRunTest : public ::testing::Test {
 protected:
  PlanRunTest() {
    for (const char* program : {"flowawr-learner", "flowawr-actor", "flowawr-reward-server"})
      folder_.Write(absl::StrCat("bin/", program), "");
    folder_.Write("prompts.txt", "a sign that says \"CAT\"\n");
  }

  // Of a configuration that names what it must and `more` of the model.
  RunRequest Request(const std::string& run_dir, const std::string& more = "") const {
    RunRequest request;
    request.config = folder_.Write("run.yaml", absl::StrCat("run_dir: unused\nmodel: {path: ", SourceFolder(),
                                                            "/models/tiny-sd3", more, "}\nprompts: {train: ",
                                                            folder_ / "prompts.txt",
                                                            "}\nrewards: {terms: [{scorer: ocr}]}\n"
                                                            "evaluation: {every_updates: 0}\n"));
    request.run_dir = run_dir;
    request.binaries = folder_ / "bin";
    return request;
  }

  const TempFolder folder_;
};

TEST_F(PlanRunTest, LoadsScorersUnderTheNameKindAndOptionsOfTheirTerms) {
  RunRequest request = Request(folder_ / "run");
  request.overrides = {"rewards.terms.1={scorer: sign, kind: ocr, options: {margin: 0, layout: sparse}}",
                       "rewards.terms.2={scorer: away, endpoint: '127.0.0.1:7000'}"};
  const auto plan = PlanRun(request);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_THAT(plan->scorers, ElementsAre("ocr", "sign=ocr,layout=sparse,margin=0"));
}

// Whatever job of several ranks `flowawr run` is itself started in, its learner's ranks are its own.
TEST_F(PlanRunTest, TellsEachRankWhichItIs) {
  RunRequest request = Request(folder_ / "run");
  request.overrides = {"train.ranks=3"};
  const auto plan = PlanRun(request);
  ASSERT_TRUE(plan.ok()) << plan.status();
  const std::string first = absl::StrJoin(LearnerCommand(*plan, "", 3), " ");
  EXPECT_THAT(first, HasSubstr("--rank 0 --world 3 --local-rank 0 --local-world 3"));
  const std::string last = absl::StrJoin(RankCommand(*plan, 2, "127.0.0.1:9"), " ");
  EXPECT_THAT(last,
              AllOf(HasSubstr("--rank0 127.0.0.1:9"), HasSubstr("--rank 2 --world 3 --local-rank 2 --local-world 3")));
}

TEST_F(PlanRunTest, RefusesADeviceOfTheLearnerTwice) {
  RunRequest request = Request(folder_ / "run");
  request.overrides = {"train.devices=[cpu, cpu]"};
  const absl::Status status = PlanRun(request).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("train.devices: cpu is named twice"));
}

TEST_F(PlanRunTest, DealsDevicesToActorsInTurn) {
  RunRequest request = Request(folder_ / "run");
  request.overrides = {"local.actors=3", "local.actor_devices=[cpu]", "local.reward_device=cpu"};
  auto plan = PlanRun(request);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_THAT(plan->devices.actors, ElementsAre("cpu"));
  EXPECT_THAT(RewardServerCommand(*plan, "127.0.0.1:0", "config.yaml"), IsSupersetOf({"--device", "cpu"}));
  plan->devices.actors = {"cuda:0", "cuda:2"};
  EXPECT_THAT(ActorCommand(*plan, 0, "127.0.0.1:1"), Contains("cuda:0"));
  EXPECT_THAT(ActorCommand(*plan, 1, "127.0.0.1:1"), Contains("cuda:2"));
  EXPECT_THAT(ActorCommand(*plan, 2, "127.0.0.1:1"), Contains("cuda:0"));
}

TEST_F(PlanRunTest, RefusesDevicesThatAreNotThereByTheirField) {
  for (const char* field : {"train.devices", "local.actor_devices"}) {
    RunRequest request = Request(folder_ / "run");
    request.overrides = {absl::StrCat(field, "=[cpu, cuda:99]")};
    const absl::Status status = PlanRun(request).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(absl::StrCat(field, ": cuda:99: no such device")));
  }
  RunRequest request = Request(folder_ / "run");
  request.overrides = {"local.reward_device=cpuu"};
  EXPECT_THAT(std::string(PlanRun(request).status().message()),
              AllOf(HasSubstr("local.reward_device: cpuu: no such device"), HasSubstr("did you mean \"cpu\"?")));
  request.overrides = {"rewards.terms.0.options.device=cuda:99"};
  EXPECT_THAT(std::string(PlanRun(request).status().message()),
              HasSubstr("rewards.terms.0.options.device: cuda:99: no such device"));
}

TEST_F(PlanRunTest, TakesTheModelsOwnSizesWhereTheConfigurationNamesNone) {
  auto plan = PlanRun(Request(folder_ / "run"));
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->config.model().height(), 32);
  EXPECT_EQ(plan->config.model().width(), 64);
  EXPECT_EQ(plan->config.model().max_sequence_length(), 12);
  const auto lock = PrepareRunFolder(*plan);
  ASSERT_TRUE(lock.ok()) << lock.status();
  const std::string yaml = ReadFile(plan->StartingConfigFile()).value();
  for (const char* line : {"  height: 32\n", "  width: 64\n", "  max_sequence_length: 12\n"})
    EXPECT_THAT(yaml, HasSubstr(line));

  const auto told = PlanRun(Request(folder_ / "other", ", width: 128, max_sequence_length: 5"));
  ASSERT_TRUE(told.ok()) << told.status();
  EXPECT_EQ(told->config.model().height(), 32);
  EXPECT_EQ(told->config.model().width(), 128);
  EXPECT_EQ(told->config.model().max_sequence_length(), 5);
}

TEST_F(PlanRunTest, TakesAnUnfinishedCheckpointForNone) {
  folder_.Write("run/checkpoints/update-000004.tmp/x", "");
  const auto plan = PlanRun(Request(folder_ / "run"));
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_FALSE(plan->continues);
}

TEST_F(PlanRunTest, LooksAtTheFolderAgainUnderItsLock) {
  auto plan = PlanRun(Request(folder_ / "run"));
  ASSERT_TRUE(plan.ok()) << plan.status();
  folder_.Write("run/config.yaml", "of a run that was begun in between");
  folder_.Write("run/checkpoints/update-000004/x", "");
  const std::string address = folder_.Write("run/endpoints/learner", "127.0.0.1:1");
  EXPECT_EQ(PrepareRunFolder(*plan).status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_TRUE(std::filesystem::exists(address)) << "nothing of the other run is touched";

  plan->resumes = true;
  const auto lock = PrepareRunFolder(*plan);
  ASSERT_TRUE(lock.ok()) << lock.status();
  EXPECT_TRUE(plan->continues);
}

TEST_F(PlanRunTest, BeginsInNoFolderWithSomebodysOwnFilesOfItsNames) {
  folder_.Write("mine/thesis.txt", "");  // nothing of a run's is called so
  EXPECT_TRUE(PlanRun(Request(folder_ / "mine")).ok());
  for (const char* file : {"config.yaml", "report.html", "summary.json", "images/cat.png", "export/peft/mine"}) {
    const TempFolder other;
    other.Write(file, "mine");
    const absl::Status status = PlanRun(Request(other.path())).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists) << file;
    const std::string inner = std::string(file).substr(0, std::string(file).find('/'));
    EXPECT_THAT(std::string(status.message()), HasSubstr(absl::StrCat(" holds ", inner))) << file;
    EXPECT_THAT(std::string(status.message()), Not(HasSubstr("--resume"))) << file;
    other.Write("lock", "");  // a start of ours that failed
    EXPECT_TRUE(PlanRun(Request(other.path())).ok()) << file;
  }
}

TEST_F(PlanRunTest, SaysThatARunNeedsAFolder) {
  const absl::Status status = PlanRun(Request(folder_.Write("report", ""))).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("is a file; a run needs a folder"));
}

TEST_F(PlanRunTest, ShowsCommandsThatAShellReadsBack) {
  const std::string run_dir = folder_ / "my runs/it's";
  const std::string quoted = absl::StrCat("'", folder_ / "my runs/it", "'\\''s'");
  RunRequest request = Request(run_dir);
  request.resume = true;
  EXPECT_THAT(std::string(PlanRun(request).status().message()),
              HasSubstr(absl::StrCat("`flowawr resume ", quoted, "`")));
  folder_.Write("my runs/it's/checkpoints/update-000001/x", "");
  request.resume = false;
  EXPECT_THAT(std::string(PlanRun(request).status().message()),
              HasSubstr(absl::StrCat("`flowawr run ", quoted, " --resume`")));
  EXPECT_THAT(std::string(LearnerEndpointOf(run_dir).status().message()),
              HasSubstr(absl::StrCat("`flowawr run ", quoted, " --resume`")));
  CheckpointFolder checkpoint;
  checkpoint.manifest.mutable_config()->mutable_train()->set_updates(5);
  EXPECT_THAT(StatusOfCheckpoint(checkpoint, run_dir).message(),
              HasSubstr(absl::StrCat("`flowawr run ", quoted, " --resume`")));
}

}  // namespace
}  // namespace flowawr
