// The curves of the live page, from the lines of the run's metrics.jsonl. Not thread-safe; no I/O.
//
// Bounded however long the run: a curve keeps at most 4096 points, and when it has more, the lowest and the highest of
// each stretch of four. The page gets at most 240 of each, chosen in the same way.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace flowawr {

struct CurvePoint {
  double x = 0, y = 0;
};

// Of more than `most` points (3 or more), the lowest and the highest of each of about `most` / 2 stretches, and the newest
// one: no peak is lost. Points are in the order of x, each x once.
std::vector<CurvePoint> ThinCurve(std::vector<CurvePoint> points, size_t most);

class LiveHistory {
 public:
  // A line without its end. What is no line of a run is passed over.
  void TakeLine(absl::string_view line);

  // {"curves": {NAME: [[update, value], ...]}, "heldout": [...], "swaps": [...], "seconds": {...}, "updates": N}:
  // see docs/watching.md. Figures have five digits, so that a page stays small.
  std::string ToJson() const;

 private:
  static constexpr size_t kMostKept = 4096, kMostSent = 240;
  static constexpr size_t kMostScorers = 8, kMostEvaluations = 1000, kMostSwaps = 100, kMostTextBytes = 200;

  struct Evaluation {
    uint64_t update = 0;
    std::optional<double> reward, standard_error, exact;
    std::map<std::string, double> by_scorer;
  };
  struct Swap {
    uint64_t update = 0;
    std::string to;
  };
  void Add(const std::string& curve, uint64_t update, std::optional<double> value);

  std::map<std::string, std::vector<CurvePoint>> curves_;
  std::map<uint64_t, Evaluation> evaluations_;  // by update
  std::vector<Swap> swaps_;
  std::map<std::string, double> seconds_;  // of the newest update, by stage of the learner
  uint64_t updates_ = 0;                   // the newest
  double elapsed_s_ = 0, samples_ = 0;     // up to it
};

}  // namespace flowawr
