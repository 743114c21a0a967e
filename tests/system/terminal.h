// A pseudo-terminal: what a program writes to it, and what of that is left on the screen.
#pragma once

#include <termios.h>

#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace flowawr {

class Terminal {
 public:
  Terminal(int width, int height);
  ~Terminal();
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  // The device that a process is given as its output.
  const std::string& path() const { return path_; }
  // The settings of the line, e.g. whether it echoes.
  termios settings() const;

  // Everything that was written before the call.
  std::string written();
  // The lines after moving up (ESC [ n A), clearing down (ESC [ J) and clearing a line (ESC [ 2 K), of which the
  // program must use no others. Colours (ESC [ n m) are left out.
  std::vector<std::string> Screen();

 private:
  void Read();
  bool HasMark() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  std::string path_;
  int master_ = -1, slave_ = -1;  // the slave is held so that reading goes on between two processes
  mutable absl::Mutex mutex_;
  std::string written_ ABSL_GUARDED_BY(mutex_);
  std::thread reader_;
};

}  // namespace flowawr
