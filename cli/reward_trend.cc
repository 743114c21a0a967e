#include "cli/reward_trend.h"

#include <algorithm>
#include <cmath>

namespace flowawr {
namespace {

constexpr const char* kLevels[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
constexpr size_t kFewest = 8;

struct Spread {
  double mean = 0, variance_of_mean = 0;
};

Spread SpreadOf(std::vector<double>::const_iterator begin, std::vector<double>::const_iterator end) {
  const double count = static_cast<double>(end - begin);
  Spread spread;
  for (auto it = begin; it != end; ++it) spread.mean += *it / count;
  for (auto it = begin; it != end; ++it)
    spread.variance_of_mean += (*it - spread.mean) * (*it - spread.mean) / (count - 1) / count;
  return spread;
}

}  // namespace

std::string Sparkline(const std::vector<double>& values, int columns) {
  std::vector<double> means;
  const size_t count = std::min(values.size(), static_cast<size_t>(std::max(columns, 1)));
  for (size_t i = 0; i < count; ++i) {
    const size_t begin = values.size() * i / count, end = values.size() * (i + 1) / count;
    double sum = 0;
    for (size_t j = begin; j < end; ++j) sum += values[j];
    means.push_back(sum / static_cast<double>(end - begin));
  }
  if (means.empty()) return "";
  const auto [low, high] = std::minmax_element(means.begin(), means.end());
  std::string line;
  for (const double mean : means) {
    const double share = *high > *low ? (mean - *low) / (*high - *low) : 0.5;
    line += kLevels[std::clamp(static_cast<int>(share * 8), 0, 7)];
  }
  return line;
}

std::optional<Direction> DirectionOf(const std::vector<double>& values) {
  if (values.size() < kFewest) return std::nullopt;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  const Spread older = SpreadOf(values.begin(), middle), newer = SpreadOf(middle, values.end());
  const double change = newer.mean - older.mean;
  if (std::abs(change) <= 2 * std::sqrt(older.variance_of_mean + newer.variance_of_mean)) return Direction::kLevel;
  return change > 0 ? Direction::kUp : Direction::kDown;
}

void RewardTrend::Add(uint64_t update, double reward, uint64_t spec) {
  if (!std::isfinite(reward)) return;
  if (spec != spec_) rewards_.clear();
  spec_ = spec;
  if (!rewards_.empty() && update <= rewards_.back().first) return;
  rewards_.emplace_back(update, reward);
  if (rewards_.size() > kMostKept) rewards_.pop_front();
}

std::vector<double> RewardTrend::values() const {
  std::vector<double> values;
  for (const auto& [update, reward] : rewards_) values.push_back(reward);
  return values;
}

}  // namespace flowawr
