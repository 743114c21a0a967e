// How much memory a piece of code takes at its height.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <string>

namespace flowawr {

// Resident bytes of this process, anonymous and file-backed pages alike. One at a time.
class PeakMemory {
 public:
  // Begins a new peak at what is resident now.
  PeakMemory() {
    std::ofstream reset("/proc/self/clear_refs");
    reset << "5" << std::flush;
    EXPECT_TRUE(reset.good()) << "the peak cannot be reset: /proc/self/clear_refs is not writable";
    base_ = Read("VmRSS:");
  }

  // The highest since the constructor, above what was resident then.
  int64_t Bytes() const { return Read("VmHWM:") - base_; }

 private:
  static int64_t Read(const std::string& field) {
    std::ifstream status("/proc/self/status");
    for (std::string word; status >> word;) {
      int64_t kilobytes = 0;
      if (word == field && status >> kilobytes) return kilobytes * 1024;
    }
    ADD_FAILURE() << "no " << field << " in /proc/self/status";
    return 0;
  }

  int64_t base_ = 0;
};

}  // namespace flowawr
