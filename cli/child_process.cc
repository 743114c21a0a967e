#include "cli/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace flowawr {

absl::StatusOr<ChildProcess> ChildProcess::Start(const std::vector<std::string>& arguments,
                                                 const std::string& log_file, int inherited) {
  if (access(arguments.front().c_str(), X_OK) != 0) {
    return absl::NotFoundError(
        absl::StrCat(arguments.front(), " cannot be run: ", strerror(errno), "; build it with scripts/build"));
  }
  const int log = open(log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (log < 0) return absl::InternalError(absl::StrCat(log_file, " cannot be opened: ", strerror(errno)));
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  sigset_t no_signals;
  sigemptyset(&no_signals);
  const pid_t parent = getpid();

  const pid_t pid = fork();
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(127);  // the parent died before prctl
    setpgid(0, 0);
    sigprocmask(SIG_SETMASK, &no_signals, nullptr);
    const int nothing = open("/dev/null", O_RDONLY);
    dup2(nothing, STDIN_FILENO);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    if (inherited >= 0) fcntl(inherited, F_SETFD, 0);  // not closed by exec
    execv(argv[0], argv.data());
    _exit(127);
  }
  const int error = errno;
  close(log);
  if (pid < 0) return absl::InternalError(absl::StrCat(arguments.front(), " cannot be started: ", strerror(error)));
  return ChildProcess(pid);
}

std::optional<std::string> ChildProcess::Poll() {
  if (end_.has_value()) return end_;
  int status = 0;
  if (waitpid(pid_, &status, WNOHANG) != pid_) return std::nullopt;
  if (WIFSIGNALED(status)) {
    end_ = absl::StrCat("signal ", WTERMSIG(status), " (", strsignal(WTERMSIG(status)), ")");
  } else {
    end_ = WEXITSTATUS(status) == 0 ? "" : absl::StrCat("exit status ", WEXITSTATUS(status));
  }
  return end_;
}

void ChildProcess::Signal(int signal) {
  if (!end_.has_value()) kill(pid_, signal);
}

std::string FolderOfPrograms() {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/exe", error).parent_path().string();
}

}  // namespace flowawr
