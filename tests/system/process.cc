#include "tests/system/process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_join.h"
#include "common/base/file.h"

extern char** environ;

namespace flowawr {

Process::Process(std::vector<std::string> command, std::string log_path) : log_path_(std::move(log_path)) {
  std::vector<char*> argv;
  for (std::string& argument : command) argv.push_back(argument.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, log_path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  const int error = posix_spawnp(&pid_, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    ADD_FAILURE() << "cannot start " << absl::StrJoin(command, " ") << ": error " << error;
    ended_.Notify();
    return;
  }
  reaper_ = std::thread([this] {
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    ended_.Notify();
  });
}

Process::~Process() {
  if (!reaper_.joinable()) return;
  Signal(SIGKILL);
  reaper_.join();
}

void Process::Signal(int signal) {
  if (!ended_.HasBeenNotified()) kill(pid_, signal);
}

int Process::Wait() const {
  if (!WaitForExit(kPatience)) {
    ADD_FAILURE() << "still running after " << absl::FormatDuration(kPatience) << "; see " << log_path_;
    return -1;
  }
  return exit_code_;
}

void Process::Kill() {
  Signal(SIGKILL);
  Wait();
}

std::string Process::log() const { return ReadFile(log_path_).value_or(""); }

}  // namespace flowawr
