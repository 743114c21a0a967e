#include "cli/sample_progress.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "cli/panel.h"
#include "common/base/clock.h"

namespace flowawr {
namespace {

bool CanRewrite() {
  const char* term = std::getenv("TERM");
  return isatty(STDERR_FILENO) == 1 && term != nullptr && std::string(term) != "dumb";
}

}  // namespace

std::string DescribeStep(const SampleStep& step, absl::Duration elapsed) {
  const double done = static_cast<double>(step.first) * step.steps + static_cast<double>(step.batch) * step.step;
  const double all = static_cast<double>(step.images) * step.steps;
  std::string text = absl::StrCat("image", step.batch > 1 ? "s " : " ", step.first + 1);
  if (step.batch > 1) absl::StrAppend(&text, "-", step.first + step.batch);
  absl::StrAppend(&text, " of ", step.images, step.step == step.steps ? ", decoding" : "");
  if (step.step < step.steps) absl::StrAppend(&text, ", step ", step.step + 1, " of ", step.steps);
  if (done > 0)
    absl::StrAppend(&text, ", about ", FormatDuration(absl::ToDoubleSeconds(elapsed) / done * (all - done)), " left");
  return text;
}

SampleProgress::SampleProgress() : is_terminal_(CanRewrite()) {}
SampleProgress::~SampleProgress() { Erase(); }

void SampleProgress::Say(const std::string& line) {
  Erase();
  std::fprintf(stderr, "%s\n", line.c_str());
}

void SampleProgress::Show(const std::string& line) {
  if (!is_terminal_) return;
  Erase();
  std::fputs(line.c_str(), stderr);
  has_line_ = true;
}

void SampleProgress::ShowStep(const SampleStep& step) {
  const absl::Time now = MonotonicNow();
  if (start_ > now) start_ = now;
  const std::string line = DescribeStep(step, now - start_);
  if (is_terminal_) {
    Show(line);
  } else if (step.step == 0) {
    Say(line);
  }
}

void SampleProgress::Erase() {
  if (has_line_) std::fputs("\r\x1b[2K", stderr);
  has_line_ = false;
}

}  // namespace flowawr
