// What there is to tell of actors that come, go and fail, until somebody tells it. Not thread-safe.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/telemetry/log.h"

namespace flowawr {

class ActorNews {
 public:
  using Tell = std::function<void(bool is_trouble, const std::string& line)>;
  // Lines that wait; beyond them it is only said how many there were.
  static constexpr size_t kMostLines = 256;

  // `about`: fields of the log's JSON line.
  void Add(bool is_trouble, std::string line, std::vector<LogField> about) {
    if (is_closed_) return;
    if (lines_.size() < kMostLines)
      lines_.push_back({is_trouble, std::move(line), std::move(about)});
    else
      ++left_out_;
  }
  // Nothing more is taken: who goes now was sent.
  void Close() { is_closed_ = true; }
  bool empty() const { return lines_.empty(); }

  // Tells what came in since, by `tell`; to be called without a lock.
  std::function<void()> Take(Tell tell) {
    if (const size_t more = std::exchange(left_out_, 0); more > 0)
      lines_.push_back({true, absl::StrCat("and ", more, " lines like these"), {}});
    return [tell = std::move(tell), lines = std::exchange(lines_, {})] {
      for (const Line& one : lines) {
        const LogFields fields(one.about);
        tell(one.is_trouble, one.text);
      }
    };
  }

 private:
  struct Line {
    bool is_trouble;
    std::string text;
    std::vector<LogField> about;
  };
  std::vector<Line> lines_;
  size_t left_out_ = 0;
  bool is_closed_ = false;
};

}  // namespace flowawr
