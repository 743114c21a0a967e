#include "common/base/shutdown_signal.h"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <thread>

#include "gtest/gtest.h"

namespace flowawr {
namespace {

// Signals belong to a whole process: each test has one of its own. Its exit status.
int InAProcess(const std::function<bool()>& body) {
  const pid_t child = fork();
  if (child == 0) _exit(body() ? 0 : 1);
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return status;
}

TEST(ShutdownSignal, WaitEndsWithEachSignal) {
  for (const int number : {SIGTERM, SIGINT, SIGHUP})
    EXPECT_EQ(InAProcess([number] {
                ShutdownSignal signal;
                kill(getpid(), number);
                return signal.Wait();
              }),
              0)
        << number;
}

TEST(ShutdownSignal, WaitEndsAlsoWhenAThreadWasStartedBefore) {
  EXPECT_EQ(InAProcess([] {
              ShutdownSignal signal;
              std::thread sender([] { kill(getpid(), SIGTERM); });
              const bool is_signalled = signal.Wait();
              sender.join();
              return is_signalled;
            }),
            0);
}

TEST(ShutdownSignal, WaitGivesUpAfterItsTimeout) {
  EXPECT_EQ(InAProcess([] { return !ShutdownSignal().Wait(absl::Milliseconds(1)); }), 0);
}

// As `timeout` sends them: to the process and to its group.
TEST(ShutdownSignal, ASecondSignalCountsOnlyAfterAMoment) {
  EXPECT_EQ(InAProcess([] {
              ShutdownSignal signal;
              kill(getpid(), SIGTERM);
              if (!signal.Wait()) return false;
              kill(getpid(), SIGTERM);
              kill(getpid(), SIGHUP);
              if (signal.Wait(ShutdownSignal::kSettleTime / 4)) return false;
              if (signal.Wait(ShutdownSignal::kSettleTime)) return false;  // swallowed, not put off
              kill(getpid(), SIGINT);
              return signal.Wait();
            }),
            0);
}

TEST(ShutdownSignal, LeavesSighupAloneUnderNohup) {
  EXPECT_EQ(InAProcess([] {
              ::signal(SIGHUP, SIG_IGN);
              ShutdownSignal signal;
              kill(getpid(), SIGHUP);
              return !signal.Wait(absl::Milliseconds(50));
            }),
            0);
}

TEST(ShutdownSignal, ABrokenPipeDoesNotEndTheProcess) {
  EXPECT_EQ(InAProcess([] {
              ShutdownSignal signal;
              int ends[2];
              if (pipe(ends) != 0) return false;
              close(ends[0]);
              return write(ends[1], "x", 1) < 0;
            }),
            0);
}

}  // namespace
}  // namespace flowawr
