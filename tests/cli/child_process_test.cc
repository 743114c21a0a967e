#include "cli/child_process.h"

#include <signal.h>
#include <sys/wait.h>

#include "common/base/file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

std::string WaitFor(ChildProcess& child) {
  siginfo_t info;
  EXPECT_EQ(waitid(P_PID, child.pid(), &info, WEXITED | WNOWAIT), 0);
  return child.Poll().value_or("still running");
}

absl::StatusOr<ChildProcess> Shell(const std::string& script, const std::string& log) {
  return ChildProcess::Start({"/bin/sh", "-c", script}, log);
}

TEST(ChildProcessTest, AppendsBothOutputsToTheLogAndTellsHowItEnded) {
  TempFolder folder;
  const std::string log = folder.Write("log", "before\n");
  auto child = Shell("echo out; echo err >&2; exit 3", log);
  ASSERT_TRUE(child.ok()) << child.status();
  EXPECT_EQ(WaitFor(*child), "exit status 3");
  EXPECT_EQ(ReadFile(log).value(), "before\nout\nerr\n");
}

TEST(ChildProcessTest, TellsTheSignalThatEndedIt) {
  TempFolder folder;
  auto child = Shell("exec cat /dev/zero > /dev/null", folder / "log");
  ASSERT_TRUE(child.ok()) << child.status();
  child->Signal(SIGKILL);
  EXPECT_EQ(WaitFor(*child), "signal 9 (Killed)");
}

TEST(ChildProcessTest, RunsInAProcessGroupOfItsOwn) {
  TempFolder folder;
  auto child = Shell("ps -o pgid= -p $$ | tr -d ' '", folder / "log");
  ASSERT_TRUE(child.ok()) << child.status();
  EXPECT_EQ(WaitFor(*child), "");
  EXPECT_EQ(ReadFile(folder / "log").value(), std::to_string(child->pid()) + "\n");
}

TEST(ChildProcessTest, SaysWhatIsMissing) {
  TempFolder folder;
  auto child = ChildProcess::Start({folder / "nothing"}, folder / "log");
  EXPECT_EQ(child.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(child.status().message(), testing::HasSubstr("nothing cannot be run"));
}

}  // namespace
}  // namespace flowawr
