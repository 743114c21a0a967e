#include "bench/control_plane/learner_process.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>

namespace flowawr {

LearnerProcess::LearnerProcess(const std::string& argument) {
  int to[2], from[2];
  if (pipe(to) != 0 || pipe(from) != 0) std::abort();
  pid_ = fork();
  if (pid_ == 0) {
    dup2(to[0], STDIN_FILENO);
    dup2(from[1], STDOUT_FILENO);
    for (const int end : {to[0], to[1], from[0], from[1]}) close(end);
    execl("/proc/self/exe", "flowawr_control_plane_bench", argument.c_str(), nullptr);
    _exit(127);
  }
  close(to[0]);
  close(from[1]);
  to_ = fdopen(to[1], "w");
  from_ = fdopen(from[0], "r");
  endpoint_ = ReadLine()["endpoint"];
}

LearnerProcess::~LearnerProcess() {
  fclose(to_);
  waitpid(pid_, nullptr, 0);
  fclose(from_);
}

nlohmann::json LearnerProcess::Ask(const std::string& word) {
  std::fprintf(to_, "%s\n", word.c_str());
  std::fflush(to_);
  return ReadLine();
}

nlohmann::json LearnerProcess::ReadLine() {
  char* line = nullptr;
  size_t capacity = 0;
  if (getline(&line, &capacity, from_) <= 0) {
    std::fprintf(stderr, "the learner's process has ended\n");
    std::exit(1);
  }
  const std::unique_ptr<char, decltype(&std::free)> owned(line, &std::free);
  return nlohmann::json::parse(line);
}

}  // namespace flowawr
