// What must not harm a run: a full disk, a second learner, a taken port, batches that teach nothing, people.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/file.h"
#include "common/rpc/channel.h"
#include "common/rpc/status.h"
#include "tests/system/baseline.h"
#include "tests/system/cluster.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

template <typename Method, typename Request, typename Response>
absl::Status Call(Cluster& cluster, Method method, const Request& request, Response* response) {
  const auto control = cluster.Control();
  const auto context = MakeContext(kPatience, v1::NetworkConfig());
  return FromGrpc((control.get()->*method)(context.get(), request, response));
}

// Two scorers that always agree, with opposite weights: every image's reward is 0, and nothing pulls to the base model.
TEST(SystemFaults, CountsUpdatesThatTeachNothingAndGoesOn) {
  Cluster cluster({"rewards.terms.1.scorer=twin", "rewards.terms.1.weight=-1", "train.updates=3",
                   "algorithm.flow_awr.kl_beta=0"});
  cluster.StartAll();
  const v1::Status status =
      cluster.WaitForStatus([](const v1::Status& status) { return status.phase() == v1::FINISHED; });
  EXPECT_EQ(status.updates_skipped(), 3);
  EXPECT_EQ(status.update(), 3);
  cluster.ExpectToFinish();
}

TEST(SystemFaults, PausesSavesExportsAndGoesOnWithoutAChangeOfResult) {
  Cluster cluster;
  cluster.StartAll();
  cluster.WaitForUpdate(1);
  v1::Status paused;
  ASSERT_TRUE(Call(cluster, &v1::Control::Stub::Pause, v1::PauseRequest(), &paused).ok());
  paused = cluster.WaitForStatus([](const v1::Status& status) { return status.phase() == v1::PAUSED; });
  EXPECT_LT(paused.update(), 6);
  v1::CheckpointResponse checkpoint;
  absl::Status called = Call(cluster, &v1::Control::Stub::Checkpoint, v1::CheckpointRequest(), &checkpoint);
  ASSERT_TRUE(called.ok()) << called;
  EXPECT_TRUE(std::filesystem::exists(checkpoint.path() + "/checkpoint.json")) << checkpoint.path();
  v1::ExportRequest request;
  request.set_role(v1::CURRENT_POLICY);
  request.set_path("halfway");
  v1::ExportResponse exported;
  called = Call(cluster, &v1::Control::Stub::Export, request, &exported);
  ASSERT_TRUE(called.ok()) << called;
  EXPECT_EQ(exported.peft_folder(), cluster.run_dir() + "/export/halfway/peft");
  EXPECT_TRUE(std::filesystem::exists(exported.peft_folder() + "/adapter_model.safetensors"));
  for (const char* path : {"/tmp/elsewhere", "../checkpoints", "peft"}) {
    request.set_path(path);
    EXPECT_EQ(Call(cluster, &v1::Control::Stub::Export, request, &exported).code(),
              absl::StatusCode::kInvalidArgument)
        << path;
  }
  EXPECT_TRUE(std::filesystem::exists(exported.diffusers_file()));
  v1::Status resumed;
  ASSERT_TRUE(Call(cluster, &v1::Control::Stub::GetStatus, v1::GetStatusRequest(), &resumed).ok());
  EXPECT_EQ(resumed.update(), paused.update());
  ASSERT_TRUE(Call(cluster, &v1::Control::Stub::Resume, v1::ResumeRequest(), &resumed).ok());
  cluster.ExpectToFinish();
  EXPECT_TRUE(cluster.ExportedAdapter() == BaselineAdapter());
}

TEST(SystemFaults, SavesEverythingOnShutdownOverRpc) {
  Cluster cluster;
  cluster.StartAll();
  cluster.WaitForUpdate(1);
  v1::ShutdownResponse response;
  const absl::Status called = Call(cluster, &v1::Control::Stub::Shutdown, v1::ShutdownRequest(), &response);
  ASSERT_TRUE(called.ok()) << called;
  EXPECT_EQ(cluster.learner().Wait(), 0);
  EXPECT_TRUE(std::filesystem::exists(cluster.run_dir() + "/checkpoints/latest"));
}

TEST(SystemFaults, RefusesARunDirectoryThatAnotherLearnerHolds) {
  Cluster cluster;
  cluster.StartAll();
  Process second({SystemProgram("flowawr-learner"), "--config", cluster.config_path(), "--reward-endpoint",
                  cluster.reward_endpoint(), "--resume"},
                 cluster.NewLog("second-learner"));
  EXPECT_EQ(second.Wait(), 75) << second.log();
  EXPECT_THAT(second.log(), HasSubstr(cluster.run_dir()));
  cluster.ExpectToFinish();
  EXPECT_TRUE(cluster.ExportedAdapter() == BaselineAdapter());
}

TEST(SystemFaults, RefusesASizeThatTheModelDoesNotTakeAtTheStart) {
  Cluster cluster({"model.height=36"});
  Process learner({SystemProgram("flowawr-learner"), "--config", cluster.config_path()}, cluster.NewLog("learner"));
  EXPECT_EQ(learner.Wait(), 78);
  EXPECT_THAT(learner.log(), HasSubstr("model.height, model.width: an image of 36x64 pixels"));
  EXPECT_THAT(learner.log(), HasSubstr("like 32x64 or 40x64"));
}

TEST(SystemFaults, NamesAPortThatIsTaken) {
  Cluster cluster;
  cluster.StartRewards();
  Process learner({SystemProgram("flowawr-learner"), "--config", cluster.config_path(), "--reward-endpoint",
                   cluster.reward_endpoint(), "--listen", cluster.reward_endpoint()},
                  cluster.NewLog("learner"));
  EXPECT_EQ(learner.Wait(), 73);
  EXPECT_THAT(learner.log(), HasSubstr(cluster.reward_endpoint()));
  EXPECT_FALSE(std::filesystem::exists(cluster.run_dir() + "/events"));  // a start that was refused leaves nothing
  Process rewards({SystemProgram("flowawr-reward-server"), "--scorer", "small=jpeg_compressibility", "--listen",
                   cluster.reward_endpoint()},
                  cluster.NewLog("second-rewards"));
  EXPECT_EQ(rewards.Wait(), 73);
  EXPECT_THAT(rewards.log(), HasSubstr(cluster.reward_endpoint()));
}

// The folder that the run names is on every machine, and on one of them it holds another VAE: the same latents would be
// other images there.
TEST(SystemFaults, RefusesAnActorWithAnotherVaeAndNamesIt) {
  ASSERT_FALSE(BaselineAdapter().empty());
  const TempFolder folder;
  const std::string model = folder / "model", vae = model + "/vae/diffusion_pytorch_model.safetensors";
  std::filesystem::copy("models/tiny-sd3", model, std::filesystem::copy_options::recursive);
  const std::string mine = ReadFile(vae).value();
  std::string other = mine;
  other.back() ^= 1;
  Cluster cluster({"model.path=" + model});
  cluster.StartRewards();
  cluster.StartLearner();
  ASSERT_TRUE(WriteFileAtomically(vae, other).ok());
  cluster.StartActor("actor-0");
  EXPECT_EQ(cluster.actor("actor-0").Wait(), 78);
  EXPECT_THAT(cluster.actor("actor-0").log(),
              AllOf(HasSubstr("actor actor-0 has another model than the run: vae differs (actor "),
                    HasSubstr("give both the same model folder")));
  ASSERT_TRUE(WriteFileAtomically(vae, mine).ok());
  cluster.StartActor("actor-0");
  cluster.ExpectToFinish();
  EXPECT_TRUE(cluster.ExportedAdapter() == BaselineAdapter());
  EXPECT_THAT(cluster.learner().log(), HasSubstr("refused: actor actor-0 has another model than the run: vae differs"));

  ASSERT_TRUE(WriteFileAtomically(vae, other).ok());
  const Process resumed({SystemProgram("flowawr-learner"), "--config", cluster.config_path(), "--reward-endpoint",
                         cluster.reward_endpoint(), "--resume"},
                        cluster.NewLog("resumed"));
  EXPECT_EQ(resumed.Wait(), 78);
  EXPECT_THAT(resumed.log(), AllOf(HasSubstr("is not the one that this run was started with: vae differs (folder ")));
}

TEST(SystemFaults, TheLearnersLogTellsTheStoryOfARun) {
  Cluster cluster;
  cluster.StartRewards();
  cluster.StartLearner();
  cluster.StartActor("first");
  cluster.WaitForUpdate(1);
  cluster.StartActor("second");
  cluster.WaitForStatus([](const v1::Status& status) { return status.actors_size() == 2; });
  cluster.actor("first").Signal(SIGTERM);
  EXPECT_EQ(cluster.actor("first").Wait(), 0);
  cluster.ExpectToFinish();
  const std::string log = cluster.learner().log();
  size_t at = 0;
  for (const char* line : {"0 of 6 updates are done, of 2 groups of 4 images each", "evaluating after update 0",
                           "actor first is here and loads its model", "actor first joined: 1 actor works",
                           "held-out after update 0: reward ", "update 1 of 6: reward ", "actor first left after ",
                           "update 6 of 6: reward ", "exported the average policy to ",
                           "finished after 6 updates and "}) {
    const size_t found = log.find(line, at);
    EXPECT_NE(found, std::string::npos) << line;
    if (found != std::string::npos) at = found;
  }
  EXPECT_THAT(log, HasSubstr("actor second is here"));
}

// A file-size limit stands for the full disk: both make write() fail half way through a checkpoint, and this one needs
// neither root nor a mount. Lifting it stands for freeing some room.
TEST(SystemFaults, WaitsForRoomWhenTheDiskIsFullAndLosesNothing) {
  ASSERT_FALSE(BaselineAdapter().empty());
  Cluster cluster;
  cluster.StartRewards();
  cluster.StartLearner(/*is_resume=*/false, {"prlimit", absl::StrCat("--fsize=", BaselineAdapter().size() / 2, ":")});
  cluster.StartActor("actor-0");
  cluster.StartActor("actor-1");
  const v1::Status status =
      cluster.WaitForStatus([](const v1::Status& status) { return status.phase() == v1::PAUSED; });
  EXPECT_THAT(status.message(), AllOf(HasSubstr("checkpoint"), HasSubstr("room")));
  EXPECT_FALSE(std::filesystem::exists(cluster.run_dir() + "/checkpoints/latest"));
  const rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
  ASSERT_EQ(prlimit(cluster.learner().pid(), RLIMIT_FSIZE, &unlimited, nullptr), 0);
  v1::Status resumed;
  ASSERT_TRUE(Call(cluster, &v1::Control::Stub::Resume, v1::ResumeRequest(), &resumed).ok());
  cluster.ExpectToFinish();
  EXPECT_TRUE(cluster.ExportedAdapter() == BaselineAdapter());
}

// /dev/full stands for the full disk, for one file after the other; taking it away stands for freeing some room.
TEST(SystemFaults, HoldsUntilItsMetricsCanBeWrittenAndLosesNoUpdate) {
  ASSERT_FALSE(BaselineAdapter().empty());
  Cluster cluster({"checkpoint.every_updates=100"});
  cluster.StartAll();
  const std::string metrics = cluster.run_dir() + "/metrics.jsonl";
  v1::Status status = cluster.WaitForStatus([](const v1::Status& status) { return status.phase() == v1::RUNNING; });
  ASSERT_TRUE(Call(cluster, &v1::Control::Stub::Pause, v1::PauseRequest(), &status).ok());
  cluster.WaitForStatus([](const v1::Status& status) { return status.phase() == v1::PAUSED; });
  std::filesystem::rename(metrics, metrics + ".aside");
  std::filesystem::create_symlink("/dev/full", metrics);
  ASSERT_TRUE(Call(cluster, &v1::Control::Stub::Resume, v1::ResumeRequest(), &status).ok());
  status = cluster.WaitForStatus([](const v1::Status& status) { return status.phase() == v1::PAUSED; });
  EXPECT_THAT(status.message(), AllOf(HasSubstr("metrics.jsonl"), HasSubstr("No space left on device"),
                                      HasSubstr("free some room"), HasSubstr("resume")));
  std::filesystem::remove(metrics);
  std::filesystem::rename(metrics + ".aside", metrics);
  ASSERT_TRUE(Call(cluster, &v1::Control::Stub::Resume, v1::ResumeRequest(), &status).ok());
  cluster.ExpectToFinish();
  EXPECT_TRUE(cluster.ExportedAdapter() == BaselineAdapter());
  const std::string lines = ReadFile(metrics).value_or("");
  for (int update = 1; update <= 6; ++update)
    EXPECT_THAT(lines, HasSubstr(absl::StrCat("\"update\":", update, "}"))) << update;
}

// A stop while the disk is full still saves what can be saved.
TEST(SystemFaults, SavesACheckpointWhenItIsStoppedWhileItsMetricsCannotBeWritten) {
  Cluster cluster({"checkpoint.every_updates=100"});
  cluster.StartAll();
  const std::string metrics = cluster.run_dir() + "/metrics.jsonl";
  cluster.WaitForStatus([](const v1::Status& status) { return status.phase() == v1::RUNNING; });
  std::filesystem::remove(metrics);
  std::filesystem::create_symlink("/dev/full", metrics);
  const v1::Status held =
      cluster.WaitForStatus([](const v1::Status& status) { return status.phase() == v1::PAUSED; });
  cluster.learner().Signal(SIGTERM);
  EXPECT_EQ(cluster.learner().Wait(), 75);
  EXPECT_TRUE(std::filesystem::exists(
      absl::StrFormat("%s/checkpoints/update-%06d/checkpoint.json", cluster.run_dir(), held.update())));
}

// What stands in the way of a folder stands for whatever makes a write fail.
TEST(SystemFaults, HoldsForPicturesAndTheExportUntilTheyCanBeWritten) {
  ASSERT_FALSE(BaselineAdapter().empty());
  Cluster cluster;
  cluster.StartRewards();
  cluster.StartLearner();
  std::filesystem::create_directories(cluster.run_dir() + "/images");
  const std::string pictures = cluster.run_dir() + "/images/base", exported = cluster.run_dir() + "/export";
  for (const std::string& path : {pictures, exported}) ASSERT_TRUE(WriteFileAtomically(path, "in the way").ok());
  cluster.StartActor("actor-0");
  for (const std::string& path : {pictures, exported}) {
    v1::Status status =
        cluster.WaitForStatus([](const v1::Status& status) { return status.phase() == v1::PAUSED; });
    EXPECT_THAT(status.message(), AllOf(HasSubstr("could not be written"), HasSubstr(path)));
    EXPECT_EQ(status.update(), path == pictures ? 0 : 6);
    std::filesystem::remove(path);
    ASSERT_TRUE(Call(cluster, &v1::Control::Stub::Resume, v1::ResumeRequest(), &status).ok());
    cluster.WaitForStatus([](const v1::Status& status) { return status.phase() != v1::PAUSED; });
  }
  cluster.ExpectToFinish();
  EXPECT_TRUE(std::filesystem::exists(pictures + "/000.png"));
  EXPECT_TRUE(cluster.ExportedAdapter() == BaselineAdapter());
}

TEST(SystemFaults, TellsAnActorThatItsRewardServerDoesNotHaveTheScorer) {
  Cluster cluster({"rewards.terms.0.scorer=unknown", "rewards.terms.0.timeout_s=2", "rollout.max_attempts=2"});
  cluster.StartAll();
  const v1::Status status =
      cluster.WaitForStatus([](const v1::Status& status) { return status.phase() == v1::PAUSED; });
  EXPECT_THAT(status.message(), HasSubstr("unknown"));
  EXPECT_THAT(status.dropped(), ::testing::Contains(::testing::Pair("reward_failed", ::testing::Ge(2))));
}

}  // namespace
}  // namespace flowawr
