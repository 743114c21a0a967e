// What a machine has and a container allows, seen by real runs: cores under a real quota, memory under a real limit,
// and every instruction set that FLOWAWR_CPU can name here.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/file.h"
#include "common/base/usable_cores.h"
#include "common/nn/instruction_set.h"
#include "tests/system/live_run.h"

namespace flowawr {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

// A control group of this test's own, in either version; removed with the object.
class Group {
 public:
  // Of controller "cpu" or "memory". Not made() where the kernel or the container allows none; `why()` says so.
  explicit Group(const std::string& controller) {
    for (const std::string& parent : {"/sys/fs/cgroup/" + controller, std::string("/sys/fs/cgroup")}) {
      const std::string folder = absl::StrCat(parent, "/flowawr-test-", getpid());
      std::error_code error;
      if (!fs::create_directory(folder, error)) {
        absl::StrAppend(&why_, folder, ": ", error.message(), "; ");
        continue;
      }
      folder_ = folder;
      is_v2_ = fs::exists(folder + "/cgroup.controllers");
      if (fs::exists(folder + (controller == "cpu" ? is_v2_ ? "/cpu.max" : "/cpu.cfs_quota_us"
                                                   : is_v2_ ? "/memory.max" : "/memory.limit_in_bytes")))
        return;
      absl::StrAppend(&why_, folder, " has no limits of ", controller, "; ");
      Remove();
    }
  }
  ~Group() { Remove(); }

  bool made() const { return !folder_.empty(); }
  const std::string& why() const { return why_; }
  void LimitCores(int percent) {
    if (is_v2_) {
      Write("cpu.max", absl::StrCat(percent, "000 100000"));
    } else {
      Write("cpu.cfs_period_us", "100000");
      Write("cpu.cfs_quota_us", absl::StrCat(percent, "000"));
    }
  }
  void LimitMemory(int64_t bytes) { Write(is_v2_ ? "memory.max" : "memory.limit_in_bytes", absl::StrCat(bytes)); }
  // A command that runs `command` inside.
  std::vector<std::string> Inside(const std::vector<std::string>& command) const {
    return {"/bin/sh", "-c",
            absl::StrCat("echo $$ > ", folder_, "/cgroup.procs && exec ", absl::StrJoin(command, " "))};
  }

 private:
  void Write(const std::string& file, const std::string& text) {
    std::ofstream out(folder_ + "/" + file);
    out << text << std::flush;
    EXPECT_TRUE(out.good()) << folder_ << "/" << file;
  }
  void Remove() {
    if (folder_.empty()) return;
    EXPECT_EQ(rmdir(folder_.c_str()), 0) << folder_ << ": " << std::strerror(errno);
    folder_.clear();
  }

  std::string folder_, why_;
  bool is_v2_ = false;
};

std::string OutputOf(const std::vector<std::string>& command) {
  const TempFolder folder;
  const Process process(command, folder / "output");
  EXPECT_EQ(process.Wait(), 0) << process.log();
  return process.log();
}

TEST(SystemProcessor, ARunUnderAQuotaOfHalfACoreStartsOneOfEach) {
  Group group("cpu");
  if (!group.made()) GTEST_SKIP() << "no control group with a CPU quota can be made here: " << group.why();
  group.LimitCores(50);
  EXPECT_EQ(OutputOf(group.Inside({"scripts/cores"})), "1\n");
  EXPECT_THAT(OutputOf(group.Inside({SystemProgram("flowawr"), "plan", "configs/tiny-ocr.yaml"})),
              HasSubstr("CPU quota of the container, 0.5 of a core's time"));

  const LiveRun run({"train.updates=1", "train.threads=0", "local.actors=0", "local.actor_threads=0",
                     "local.reward_threads=0", "evaluation.prompts=1", "evaluation.final_prompts=1"});
  const Process process(group.Inside({SystemProgram("flowawr"), "run", run.folder() / "config.yaml"}),
                        run.folder() / "output");
  EXPECT_EQ(process.Wait(), 0) << process.log();
  EXPECT_THAT(process.log(), HasSubstr("learner x1 threads, 1 actor x1, reward server x1"));
  EXPECT_THAT(ReadFile(run.run_dir() + "/logs/learner.log").value(), HasSubstr("CPU quota of the container"));
}

TEST(SystemProcessor, ScriptsAndProgramsCountTheSameCores) {
  EXPECT_EQ(OutputOf({"scripts/cores"}), absl::StrCat(UsableCoresHere().count, "\n"));
  EXPECT_EQ(OutputOf({"taskset", "1", "scripts/cores"}), "1\n");
  EXPECT_THAT(OutputOf({"taskset", "1", SystemProgram("flowawr"), "plan", "configs/tiny-ocr.yaml"}),
              HasSubstr("actor"));
}

TEST(SystemProcessor, PlansForTheMemoryOfTheControlGroup) {
  Group group("memory");
  if (!group.made()) GTEST_SKIP() << "no control group with a limit of memory can be made here: " << group.why();
  group.LimitMemory(int64_t{3} << 30);
  EXPECT_THAT(OutputOf(group.Inside({SystemProgram("flowawr"), "plan", "configs/tiny-ocr.yaml"})),
              HasSubstr(" of 3.2 GB"));
}

TEST(SystemProcessor, TrainsWithEveryInstructionSet) {
  for (const kernels::InstructionSet set : kernels::AvailableInstructionSets()) {
    const std::string name(kernels::NameOf(set));
    SCOPED_TRACE(name);
    LiveRun run({"train.updates=1", "local.actors=1", "evaluation.prompts=1", "evaluation.final_prompts=1"});
    const Process process({"/usr/bin/env", "FLOWAWR_CPU=" + name, SystemProgram("flowawr"), "run",
                           run.folder() / "config.yaml"},
                          run.folder() / "output");
    EXPECT_EQ(process.Wait(), 0) << process.log();
    EXPECT_THAT(process.log(), HasSubstr(absl::StrCat("instruction set ", name, " (FLOWAWR_CPU)")));
    for (const char* log : {"learner", "actor-0", "reward-server"})
      EXPECT_THAT(ReadFile(absl::StrCat(run.run_dir(), "/logs/", log, ".log")).value(),
                  HasSubstr(absl::StrCat("instruction set ", name, " (FLOWAWR_CPU)")));
    EXPECT_FALSE(run.ExportedAdapter().empty());
  }
}

TEST(SystemProcessor, AResumedRunSaysThatTheInstructionsAreOthers) {
  if (kernels::AvailableInstructionSets().size() < 2) GTEST_SKIP() << "this processor has one instruction set only";
  const std::string first(kernels::NameOf(kernels::AvailableInstructionSets().front()));
  const std::string last(kernels::NameOf(kernels::AvailableInstructionSets().back()));
  LiveRun run({"train.updates=1", "local.actors=1", "evaluation.prompts=1", "evaluation.final_prompts=1"});
  const std::string flowawr = SystemProgram("flowawr");
  OutputOf({"/usr/bin/env", "FLOWAWR_CPU=" + first, flowawr, "run", run.folder() / "config.yaml"});
  OutputOf({"/usr/bin/env", "FLOWAWR_CPU=" + last, flowawr, "run", run.run_dir() + "/config.yaml", "--resume", "--set",
            "train.updates=2"});
  EXPECT_THAT(ReadFile(run.run_dir() + "/logs/learner.log").value(),
              HasSubstr(absl::StrCat("last bits may differ from here on: instruction set ", first, " -> ", last)));
}

TEST(SystemProcessor, EveryProgramRefusesAnInstructionSetThatIsNone) {
  for (const char* program : {"flowawr", "flowawr-learner", "flowawr-actor", "flowawr-reward-server"}) {
    const TempFolder folder;
    const Process process({"/usr/bin/env", "FLOWAWR_CPU=avx-2", SystemProgram(program), "--version"},
                          folder / "output");
    EXPECT_EQ(process.Wait(), 64) << program;
    EXPECT_THAT(process.log(), HasSubstr("did you mean avx2?")) << program;
  }
}

}  // namespace
}  // namespace flowawr
