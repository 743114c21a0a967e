#include "cli/progress_display.h"

#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

namespace flowawr {
namespace {

constexpr int kDefaultWidth = 80;

struct Size {
  int width, height;
};

Size TerminalSize() {
  winsize size = {};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return {kDefaultWidth, 24};
  return {size.ws_col, std::max<int>(size.ws_row, 4)};
}

bool CanRedraw() {
  const char* term = std::getenv("TERM");
  return isatty(STDOUT_FILENO) == 1 && term != nullptr && std::string(term) != "dumb";
}

bool WantsColour() {
  const char* none = std::getenv("NO_COLOR");
  return none == nullptr || *none == '\0';
}

}  // namespace

ProgressDisplay::ProgressDisplay() : is_terminal_(CanRedraw()), has_colour_(is_terminal_ && WantsColour()) {}

void ProgressDisplay::Show(const v1::Status& status) {
  if (!is_terminal_) {
    for (const std::string& line : plain_.Next(status)) printf("%s\n", line.c_str());
    fflush(stdout);
    return;
  }
  last_ = status;
  has_status_ = true;
  if (status.update() > 0 && status.has_reward_mean())
    trend_.Add(status.update(), status.reward_mean(), status.reward_spec().version());
  Erase();
  Draw();
}

void ProgressDisplay::Say(const std::string& line) {
  Erase();
  printf("%s\n", line.c_str());
  if (has_status_) Draw();
  fflush(stdout);
}

void ProgressDisplay::Erase() {
  if (drawn_lines_ > 0) printf("\x1b[%dA\x1b[J", drawn_lines_);
  drawn_lines_ = 0;
}

// A panel taller than the screen could not be erased: its end is left out.
void ProgressDisplay::Draw() {
  const Size size = TerminalSize();
  for (const std::string& line : RenderPanel(last_, size.width, {.has_colour = has_colour_, .trend = &trend_})) {
    if (drawn_lines_ + 1 >= size.height) break;
    printf("%s\n", line.c_str());
    ++drawn_lines_;
  }
  fflush(stdout);
}

}  // namespace flowawr
