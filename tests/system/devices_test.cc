// A whole run on accelerators: the unmodified programs on the pretend ones of tests/testing/fake_device.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <torch/types.h>

#include <cmath>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/tensor/safetensors.h"
#include "tests/system/live_run.h"

namespace flowawr {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Every process that is started while this lives has the pretend accelerators fake:0 and fake:1.
class PretendAccelerators {
 public:
  PretendAccelerators() { setenv("LD_PRELOAD", FAKE_DEVICE_LIBRARY, /*overwrite=*/1); }
  ~PretendAccelerators() { unsetenv("LD_PRELOAD"); }
};

std::string LogOf(const LiveRun& run, const std::string& process) {
  return ReadFile(absl::StrCat(run.run_dir(), "/logs/", process, ".log")).value_or("");
}

// ||a - b|| / ||b|| over the matrices that begin at zero: what was trained.
double Distance(const std::string& adapter, const std::string& other) {
  const auto a = SafetensorsFile::Parse(adapter, "adapter"), b = SafetensorsFile::Parse(other, "other");
  EXPECT_TRUE(a.ok()) << a.status();
  EXPECT_TRUE(b.ok()) << b.status();
  if (!a.ok() || !b.ok()) return 1;
  double difference = 0, norm = 0;
  for (const auto& [name, tensor] : b->tensors()) {
    if (!absl::StrContains(name, "lora_B")) continue;
    difference += (a->tensors().at(name).to(at::kDouble) - tensor.to(at::kDouble)).square().sum().item<double>();
    norm += tensor.to(at::kDouble).square().sum().item<double>();
  }
  return std::sqrt(difference / norm);
}

std::string AdapterOfUndisturbedRun() {
  LiveRun run;
  EXPECT_EQ(run.Start().Wait(), 0);
  EXPECT_THAT(LogOf(run, "actor-0"), HasSubstr("samples on fake:0"));
  EXPECT_THAT(LogOf(run, "actor-1"), HasSubstr("samples on fake:1"));
  EXPECT_THAT(LogOf(run, "learner"), HasSubstr("gradients are computed on fake:0"));
  return run.ExportedAdapter();
}

// While this lives, the devices of one process fail while pictures come down.
class FailingDevice {
 public:
  FailingDevice() {
    EXPECT_TRUE(WriteFileAtomically(file_, "").ok());
    setenv("FLOWAWR_FAILING_DEVICE", file_.c_str(), /*overwrite=*/1);
  }
  ~FailingDevice() { unsetenv("FLOWAWR_FAILING_DEVICE"); }

 private:
  const TempFolder folder_;
  const std::string file_ = folder_ / "fails";
};

// The reward is a size as JPEG: a level of a pixel that rounds the other way changes it by a whole byte, and AdamW makes
// much of little. Hence so wide a tolerance; DeviceTest has the models'.
TEST(SystemDevices, ARunOnAcceleratorsEndsNearTheCpusAndNoKilledActorNorFailedDeviceChangesABit) {
  ASSERT_FALSE(LiveRunBaseline().empty());
  const PretendAccelerators there;
  const std::string undisturbed = AdapterOfUndisturbedRun();
  EXPECT_LT(Distance(undisturbed, LiveRunBaseline()), .1);
  LiveRun run;
  run.Start();
  run.WaitForUpdate(1);
  run.KillAndWaitForRestart("actor-0");
  EXPECT_EQ(run.process().Wait(), 0);
  EXPECT_TRUE(run.ExportedAdapter() == undisturbed);

  const FailingDevice fails;
  LiveRun another;
  EXPECT_EQ(another.Start().Wait(), 0);
  EXPECT_THAT(another.process().log(), HasSubstr("ended with exit status 75 and was started again"));
  EXPECT_THAT(LogOf(another, "actor-0") + LogOf(another, "actor-1"),
              AllOf(HasSubstr("handed back, decode_failed"), HasSubstr("the device failed: decoding")));
  EXPECT_TRUE(another.ExportedAdapter() == undisturbed);
}

TEST(SystemDevices, GivesEachAcceleratorAnActorWhenNobodySaysHowMany) {
  LiveRun run({"local.actors=0", "train.updates=1", "evaluation.prompts=1", "evaluation.final_prompts=1"});
  const PretendAccelerators there;
  EXPECT_EQ(run.Start().Wait(), 0);
  EXPECT_THAT(run.process().log(),
              AllOf(HasSubstr("2 actors"),
                    HasSubstr("devices: learner on fake:0, actors on fake:0, fake:1, rewards on fake:1")));
  EXPECT_THAT(LogOf(run, "actor-1"), HasSubstr("samples on fake:1"));
}

TEST(SystemDevices, AResumedRunSaysThatItGoesOnOnOtherDevices) {
  LiveRun run({"train.updates=1", "local.actors=1", "evaluation.prompts=1", "evaluation.final_prompts=1"});
  EXPECT_EQ(run.Start().Wait(), 0);
  const PretendAccelerators there;
  run.Start({"--resume", "--set", "train.updates=2", "--set", "model.deterministic=false", "--set", "train.ranks=2",
             "--set", "train.devices=[fake:0]"});
  EXPECT_EQ(run.process().Wait(), 0);
  EXPECT_THAT(run.process().log(),
              AllOf(HasSubstr("the learner's device cpu -> fake, model.deterministic true -> false"),
                    HasSubstr("learner of 2 ranks x"),
                    HasSubstr("devices: learner on fake:0, actors on fake:0, fake:1, "),
                    HasSubstr("warning: 2 ranks of this machine share 1 device (train.devices)")));
}

TEST(SystemDevices, EveryProgramNamesTheDevicesThatAreThereInsteadOfOneThatIsNot) {
  const PretendAccelerators there;
  for (const char* program : {"flowawr-actor", "flowawr-reward-server"}) {
    const TempFolder folder;
    const Process process({SystemProgram(program), "--device", "fake:2"}, folder / "output");
    EXPECT_EQ(process.Wait(), 64) << program;
    EXPECT_THAT(process.log(), HasSubstr("fake:2: no such device: this machine has cpu, fake:0, fake:1")) << program;
  }
  for (const char* command : {"sample", "encode", "score"}) {
    const CommandResult result = Flowawr({command, "--device", "fake:2"});
    EXPECT_EQ(result.exit_code, 64) << command;
    EXPECT_THAT(result.output, HasSubstr("fake:2: no such device")) << command;
  }
}

}  // namespace
}  // namespace flowawr
