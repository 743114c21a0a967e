// Where a run's progress goes: a panel that is redrawn in place on a terminal, plain lines anywhere else. In colour,
// unless NO_COLOR is set in the environment (https://no-color.org).
#pragma once

#include <string>

#include "cli/panel.h"
#include "flowawr/v1/control.pb.h"

namespace flowawr {

// Writes to stdout. Not thread-safe.
class ProgressDisplay {
 public:
  ProgressDisplay();

  void Show(const v1::Status& status);
  // What updates before the first status that is shown had, for the trend.
  void AddPast(uint64_t update, double reward, uint64_t spec) { trend_.Add(update, reward, spec); }
  // A line that stays, above the panel.
  void Say(const std::string& line);
  // Leaves the last panel on the screen; what is written next comes below it.
  void Finish() { drawn_lines_ = 0; }

 private:
  void Erase();
  void Draw();

  const bool is_terminal_, has_colour_;
  RewardTrend trend_;
  ProgressLines plain_;
  v1::Status last_;
  bool has_status_ = false;
  int drawn_lines_ = 0;  // of the panel on the screen
};

}  // namespace flowawr
