// Runs that go on from checkpoints that are elsewhere: copied to a second place, with other processes, or written by an
// older release.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/base/checkpoint_names.h"
#include "common/base/file.h"
#include "tests/system/live_run.h"

namespace flowawr {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr char kAdapter[] = "/export/peft/adapter_model.safetensors";

std::vector<std::string> CheckpointsIn(const std::string& run_dir) {
  return CheckpointNames(run_dir + "/checkpoints").value();
}

// What an undisturbed run exports, which one that was moved must export to the byte: with another folder, another
// number of actors, and the folder of before gone.
TEST(SystemCheckpoints, ARunGoesOnFromItsCopiesWithOtherActorsAndTheSameBytes) {
  LiveRun run;
  const std::string copies = run.folder() / "elsewhere/copies";
  run.Start({"--set", "checkpoint.copy_to=" + copies});
  run.WaitForUpdate(3);
  run.process().Signal(SIGINT);
  EXPECT_EQ(run.process().Wait(), 130);
  EXPECT_EQ(CheckpointsIn(copies), CheckpointsIn(run.run_dir()));
  EXPECT_THAT(CheckpointsIn(copies), SizeIs(testing::AllOf(testing::Ge(2), testing::Le(3))));  // keep 2, keep_best 1
  fs::rename(run.run_dir(), run.run_dir() + "-gone");

  const std::string log = run.folder() / "copy.log";
  const Process resumed({SystemProgram("flowawr"), "run", copies, "--resume", "--set", "local.actors=1"}, log);
  const v1::Status status = AwaitStatus(AwaitEndpoint(copies + "/endpoints/learner", resumed),
                                        [](const v1::Status& now) { return now.phase() == v1::FINISHED; });
  EXPECT_EQ(status.update(), 6);
  EXPECT_THAT(status.warnings(), ElementsAre(HasSubstr("is the run's own folder")));
  EXPECT_EQ(resumed.Wait(), 0) << resumed.log();
  EXPECT_EQ(ReadFile(copies + kAdapter).value_or(""), LiveRunBaseline());
}

TEST(SystemCheckpoints, APlaceForCopiesThatCannotBeWrittenWarnsAndStopsNothing) {
  LiveRun run;
  const std::string in_the_way = run.folder().Write("in_the_way", "a file");
  run.Start({"--set", "checkpoint.copy_to=" + in_the_way + "/copies"});
  const v1::Status status = run.WaitForStatus([](const v1::Status& now) { return now.warnings_size() > 0; });
  EXPECT_THAT(status.warnings(0), HasSubstr("the checkpoints are not copied to " + in_the_way));
  EXPECT_EQ(run.process().Wait(), 0);
  EXPECT_EQ(run.ExportedAdapter(), LiveRunBaseline());
}

// The best of a run whose reward only falls is the first one that was evaluated.
TEST(SystemCheckpoints, TheBestStaysBesideTheNewest) {
  LiveRun run;
  run.Start({"--set", "train.updates=8", "--set", "evaluation.every_updates=2", "--set", "checkpoint.keep=1", "--set",
             "checkpoint.keep_best=3"});
  EXPECT_EQ(run.process().Wait(), 0) << run.process().log();
  // 8, and those of 2, 4 and 6, or two of them.
  EXPECT_THAT(CheckpointsIn(run.run_dir()), SizeIs(testing::AnyOf(3, 4)));
  EXPECT_EQ(CheckpointsIn(run.run_dir())[0], "update-000008");
}

// Made by release 0.1.0: tests/system/data/README.md.
TEST(SystemCheckpoints, ACheckpointOfAnOlderReleaseGoesOn) {
  const TempFolder folder;
  const std::string run_dir = folder / "run";
  fs::copy("tests/system/data/run-0.1.0", run_dir, fs::copy_options::recursive);
  const Process run({SystemProgram("flowawr"), "run", run_dir, "--resume", "--set", "train.updates=3"},
                    folder / "output");
  const v1::Status status = AwaitStatus(AwaitEndpoint(run_dir + "/endpoints/learner", run), [](const v1::Status& now) {
    return now.phase() == v1::FINISHED;
  });
  EXPECT_EQ(status.update(), 3);
  EXPECT_EQ(run.Wait(), 0) << run.log();
  EXPECT_FALSE(ReadFile(run_dir + kAdapter).value_or("").empty());
  const std::string history = ReadFile(run_dir + "/metrics.jsonl").value();
  EXPECT_THAT(history, HasSubstr("\"update\":2")) << "what was there before stays";
}

}  // namespace
}  // namespace flowawr
