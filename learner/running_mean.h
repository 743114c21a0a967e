// A mean and its standard error, value by value.
#pragma once

#include <cmath>
#include <cstdint>
#include <optional>

namespace flowawr {

// Welford's: values far from 0 lose no digits. What is not finite is left out.
class RunningMean {
 public:
  void Add(double value) {
    if (!std::isfinite(value)) return;
    const double before = value - mean_;
    mean_ += before / static_cast<double>(++count_);
    squares_ += before * (value - mean_);
  }
  // Of no value: none.
  std::optional<double> mean() const { return count_ == 0 ? std::nullopt : std::optional(mean_); }
  // Of that mean; of two values and more.
  std::optional<double> standard_error() const {
    if (count_ < 2) return std::nullopt;
    const double n = static_cast<double>(count_);
    return std::sqrt(squares_ / (n - 1) / n);
  }

 private:
  double mean_ = 0, squares_ = 0;
  int64_t count_ = 0;
};

}  // namespace flowawr
