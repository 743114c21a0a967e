// `flowawr` as a process whose output a test reads while it runs.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cli/child_process.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {

class Command {
 public:
  Command(const TempFolder& folder, const std::vector<std::string>& arguments) : fifo_(folder / "output") {
    std::filesystem::remove(fifo_);
    EXPECT_EQ(mkfifo(fifo_.c_str(), 0600), 0);
    const int reader = open(fifo_.c_str(), O_RDONLY | O_NONBLOCK);  // lets the child open it for writing
    fcntl(reader, F_SETFL, 0);
    output_ = fdopen(reader, "r");
    std::vector<std::string> command = {std::string(std::getenv("FLOWAWR_BUILD_DIR")) + "/bin/flowawr"};
    command.insert(command.end(), arguments.begin(), arguments.end());
    auto child = ChildProcess::Start(command, fifo_);
    EXPECT_TRUE(child.ok()) << child.status();
    if (child.ok()) child_ = *std::move(child);
  }
  ~Command() {
    if (child_ && !child_->Poll()) child_->Signal(SIGKILL);
    std::fclose(output_);
  }

  // Reads until a line holds `text`; false at the end of the output.
  bool ReadUntil(const std::string& text) {
    char line[4096];
    while (std::fgets(line, sizeof(line), output_) != nullptr) {
      all_ += line;
      if (!text.empty() && std::string(line).find(text) != std::string::npos) return true;
    }
    return false;
  }
  void Signal(int signal) { child_->Signal(signal); }
  // "" for success.
  std::string AwaitEnd() {
    ReadUntil("");
    siginfo_t info;
    EXPECT_EQ(waitid(P_PID, static_cast<id_t>(child_->pid()), &info, WEXITED | WNOWAIT), 0);
    return child_->Poll().value_or("still running");
  }
  const std::string& output() const { return all_; }

 private:
  const std::string fifo_;
  std::FILE* output_ = nullptr;
  std::optional<ChildProcess> child_;
  std::string all_;
};

}  // namespace flowawr
