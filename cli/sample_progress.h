// What `flowawr sample` shows while it draws, on stderr.
#pragma once

#include <cstddef>
#include <string>

#include "absl/time/time.h"

namespace flowawr {

// Where the drawing stands: images [first, first + batch) of `images` have made `step` of `steps` steps.
struct SampleStep {
  size_t images = 0;
  size_t first = 0;
  size_t batch = 0;
  int step = 0;
  int steps = 0;
};

// "images 3-4 of 8, step 12 of 40, about 2:31 left"; no time is told before the first step is done. Pure.
std::string DescribeStep(const SampleStep& step, absl::Duration elapsed);

// One line that is written over on a terminal; elsewhere a line a batch, for logs. Not thread-safe.
class SampleProgress {
 public:
  SampleProgress();
  ~SampleProgress();

  // A line that stays.
  void Say(const std::string& line);
  // What is being done now.
  void Show(const std::string& line);
  // The clock starts with the first call.
  void ShowStep(const SampleStep& step);

 private:
  void Erase();

  const bool is_terminal_;
  bool has_line_ = false;
  absl::Time start_ = absl::InfiniteFuture();
};

}  // namespace flowawr
