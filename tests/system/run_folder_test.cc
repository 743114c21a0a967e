// A run's folder as its identity: no command reaches another run, nothing in the folder changes before it is locked and
// everything is checked, and copies and moved folders are runs of their own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/config/run_config.h"
#include "tests/system/cluster.h"
#include "tests/system/live_run.h"

namespace flowawr {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

namespace fs = std::filesystem;

std::string ConfigOf(const std::string& run_dir) { return ReadFile(run_dir + "/config.yaml").value_or("(none)"); }

TEST(SystemRunFolder, NoCommandOrActorReachesAnotherRunAtTheSameAddress) {
  Cluster mine({"train.updates=1000"});
  mine.StartAll();
  mine.WaitForUpdate(2);  // there is a checkpoint by then
  mine.learner().Kill();  // leaves its addresses behind
  ASSERT_TRUE(fs::exists(mine.run_dir() + "/endpoints/learner"));

  Cluster other({"train.updates=1000"});
  other.UseRewards(mine.reward_endpoint());
  other.UseLearnerAddress(mine.learner_endpoint());
  other.StartLearner();
  for (const char* actor : {"actor-0", "actor-1"}) {
    EXPECT_EQ(mine.actor(actor).Wait(), 78) << actor;
    EXPECT_THAT(mine.actor(actor).log(), HasSubstr("there is the learner of another run now"));
  }
  other.StartActor("actor-0");
  other.WaitForUpdate(1);

  for (const char* command : {"pause", "resume", "checkpoint"}) {
    const CommandResult result = Flowawr({command, mine.run_dir()});
    EXPECT_EQ(result.exit_code, 69) << command;
    EXPECT_THAT(result.output, HasSubstr("another process listens at its address")) << command;
  }
  const CommandResult swap = Flowawr({"reward", "swap", mine.run_dir(), "--term", "twin"});
  EXPECT_EQ(swap.exit_code, 69) << swap.output;
  const CommandResult status = Flowawr({"status", mine.run_dir()});
  EXPECT_EQ(status.exit_code, 0) << status.output;
  EXPECT_THAT(status.output, AllOf(HasSubstr("stopped"), HasSubstr(mine.run_dir() + "/checkpoints/")));
  const CommandResult exported = Flowawr({"export", mine.run_dir()});
  EXPECT_EQ(exported.exit_code, 0) << exported.output;
  EXPECT_TRUE(fs::exists(mine.run_dir() + "/export/peft")) << "of the killed run's own checkpoint";
  EXPECT_FALSE(fs::exists(other.run_dir() + "/export")) << "the other run was asked to export";

  const CommandResult pause = Flowawr({"pause", other.run_dir()});
  EXPECT_EQ(pause.exit_code, 0) << pause.output;
  // A copy of a folder whose run goes on is no way to that run. Of what an update that is under way may still change,
  // it has nothing.
  fs::create_directory(other.folder() + "/copy");
  for (const char* name : {"config.yaml", "run_id", "endpoints"})
    fs::copy(absl::StrCat(other.run_dir(), "/", name), absl::StrCat(other.folder(), "/copy/", name),
             fs::copy_options::recursive);
  EXPECT_EQ(Flowawr({"resume", other.folder() + "/copy"}).exit_code, 69);
  EXPECT_EQ(Flowawr({"resume", other.run_dir()}).exit_code, 0);
}

TEST(SystemRunFolder, ALearnerStartedByHandIsKnownByItsFolderAndLeavesNoAddressBehind) {
  Cluster cluster({"train.updates=1000"});
  cluster.StartRewards();
  cluster.StartLearner();
  const CommandResult status = Flowawr({"status", cluster.run_dir()});
  EXPECT_EQ(status.exit_code, 0) << status.output;
  EXPECT_THAT(status.output, HasSubstr("system-test"));
  cluster.learner().Signal(SIGHUP);  // the terminal was closed
  EXPECT_EQ(cluster.learner().Wait(), 0);
  EXPECT_FALSE(fs::exists(cluster.run_dir() + "/endpoints/learner"));
}

TEST(SystemRunFolder, ALearnerWithoutARewardServerSaysSoAtOnce) {
  const TempFolder folder;
  const v1::RunConfig config = SmallConfig(folder / "run", {});
  const std::string file = folder.Write("config.yaml", RunConfigToYaml(config).value());
  const Process learner({SystemProgram("flowawr-learner"), "--config", file}, folder / "log");
  EXPECT_EQ(learner.Wait(), 78);
  EXPECT_THAT(learner.log(),
              AllOf(HasSubstr("the reward small names no reward server"), HasSubstr("--reward-endpoint")));
  EXPECT_FALSE(fs::exists(folder / "run/config.yaml"));
}

TEST(SystemRunFolder, ARefusedResumeChangesNothingAndTheNextOneGoesOn) {
  LiveRun run({"train.updates=1"});
  ASSERT_EQ(run.Start().Wait(), 0);
  const std::string before = ConfigOf(run.run_dir());
  const auto event_files = [&run] {
    const fs::directory_iterator files(run.run_dir() + "/events");
    return std::distance(begin(files), end(files));
  };
  EXPECT_EQ(event_files(), 1);
  for (const char* setting :
       {"lora.rank=2", "rollout.samples_per_group=3", "rewards.terms.0.options.colour=red",
        "network.learner_listen=192.0.2.1:1"}) {
    EXPECT_EQ(run.Start({"--resume", "--set", setting, "--set", "network.insecure=true"}).Wait(), 78) << setting;
    EXPECT_EQ(ConfigOf(run.run_dir()), before) << setting;
    EXPECT_FALSE(fs::exists(run.run_dir() + "/config.yaml.new"));
    EXPECT_EQ(event_files(), 1);
  }
  const CommandResult again = Flowawr({"run", run.run_dir(), "--resume", "--set", "train.updates=2"});
  EXPECT_EQ(again.exit_code, 0) << again.output;
  EXPECT_THAT(again.output, HasSubstr("2 of 2 updates"));
}

// Folders are named by bytes; what cannot be sent as text must not keep actors and commands from the run.
TEST(SystemRunFolder, MayBeCalledByAnyBytes) {
  LiveRun run({"train.updates=2"});
  const std::string odd = run.folder() / "caf\xe9";
  run.Start({"--run-dir", odd});
  const v1::Status status = AwaitStatus(AwaitEndpoint(odd + "/endpoints/learner", run.process()),
                                        [](const v1::Status& status) { return status.update() >= 1; });
  EXPECT_THAT(status.run_dir(), testing::EndsWith("/caf\uFFFD"));
  EXPECT_EQ(run.process().Wait(), 0);
  EXPECT_TRUE(fs::exists(odd + "/export/peft/adapter_model.safetensors"));
  const CommandResult stopped = Flowawr({"status", odd});
  EXPECT_EQ(stopped.exit_code, 0) << stopped.output;
  const CommandResult again = Flowawr({"run", odd, "--resume", "--set", "train.updates=3"});
  EXPECT_EQ(again.exit_code, 0) << again.output;
  EXPECT_TRUE(fs::exists(odd + "/checkpoints/update-000003"));
}

TEST(SystemRunFolder, AResumeOfALiveRunIsRefusedAndLeavesItAlone) {
  LiveRun run({"train.updates=1000"});
  run.Start();
  run.WaitForUpdate(1);
  const CommandResult second = Flowawr({"run", run.run_dir(), "--resume"});
  EXPECT_EQ(second.exit_code, 75) << second.output;
  EXPECT_THAT(second.output, HasSubstr(absl::StrCat("in use by process ", run.process().pid())));
  EXPECT_EQ(Flowawr({"pause", run.run_dir()}).exit_code, 0) << "its addresses are gone";
  // As `timeout` ends it: two signals at once.
  run.process().Signal(SIGTERM);
  run.process().Signal(SIGHUP);
  EXPECT_EQ(run.process().Wait(), 130);
  EXPECT_THAT(run.process().log(), AllOf(HasSubstr("stopped; the run is saved"), Not(HasSubstr("killed by"))));
  EXPECT_FALSE(fs::exists(run.run_dir() + "/endpoints"));
}

TEST(SystemRunFolder, AFirstStartThatFailedCanBeRepaired) {
  LiveRun run({"train.updates=1", "rewards.terms.0.options.colour=red"});
  EXPECT_EQ(run.Start().Wait(), 78);
  EXPECT_THAT(run.process().log(), Not(HasSubstr("go on with")));
  EXPECT_EQ(run.Start({"--set", "rewards.terms.0={scorer: jpeg_compressibility, options: {scale: 1}}"}).Wait(), 0);
  EXPECT_EQ(run.Start().Wait(), 73);
}

TEST(SystemRunFolder, ACopyGoesOnInItselfFromAnyWorkingDirectory) {
  LiveRun run({"train.updates=1"});
  ASSERT_EQ(run.Start().Wait(), 0);
  const std::string copy = run.folder() / "a copy's folder";
  fs::copy(run.run_dir(), copy, fs::copy_options::recursive);
  const std::string metrics = ReadFile(run.run_dir() + "/metrics.jsonl").value_or("");
  for (const auto& [target, updates] : {std::pair<std::string, int>{"config.yaml", 2}, {".", 3}}) {
    const Process resumed({"/bin/sh", "-c", "cd \"$0\" && exec \"$1\" run \"$2\" --resume --set train.updates=$3", copy,
                           fs::absolute(SystemProgram("flowawr")).string(), target, absl::StrCat(updates)},
                          run.folder() / "copy.log");
    EXPECT_EQ(resumed.Wait(), 0) << resumed.log();
    EXPECT_THAT(resumed.log(), HasSubstr(absl::StrCat(updates, " of ", updates, " updates")));
  }
  EXPECT_TRUE(fs::exists(copy + "/checkpoints/update-000003"));
  EXPECT_FALSE(fs::exists(run.run_dir() + "/checkpoints/update-000002"));
  EXPECT_EQ(ReadFile(run.run_dir() + "/metrics.jsonl").value_or(""), metrics);
  const CommandResult status = Flowawr({"status", copy});
  EXPECT_THAT(status.output, HasSubstr("a copy's folder/checkpoints/update-000003"));
}

}  // namespace
}  // namespace flowawr
