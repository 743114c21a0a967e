// Which way a run's reward goes, in a line. Pure; not thread-safe.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace flowawr {

// "▁▂▅█": each column is the mean of its share of the values, from the lowest to the highest of them. At most `columns`.
std::string Sparkline(const std::vector<double>& values, int columns);

enum class Direction { kUp, kDown, kLevel };

// Whether the newer half is above or below the older one by more than twice the standard error of that difference.
// nullopt: too few values, less than eight.
std::optional<Direction> DirectionOf(const std::vector<double>& values);

class RewardTrend {
 public:
  // The mean reward of an update; one that is not newer than the last is left out. Keeps the newest 200. `spec`: the
  // version of the rewards; with another one the trend begins anew.
  void Add(uint64_t update, double reward, uint64_t spec);

  bool empty() const { return rewards_.empty(); }
  std::vector<double> values() const;
  uint64_t first_update() const { return rewards_.empty() ? 0 : rewards_.front().first; }

 private:
  static constexpr size_t kMostKept = 200;
  uint64_t spec_ = 0;
  std::deque<std::pair<uint64_t, double>> rewards_;
};

}  // namespace flowawr
