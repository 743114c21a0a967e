#include "learner/schedules.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace flowawr {

double LearningRate(const v1::OptimizerConfig& config, uint64_t done, uint64_t total) {
  const double progress = std::min(static_cast<double>(done) / static_cast<double>(std::max<uint64_t>(total, 1)), 1.0);
  switch (config.schedule()) {
    case v1::LINEAR:
      return config.learning_rate() * (1 - progress);
    case v1::COSINE:
      return config.learning_rate() * 0.5 * (1 + std::cos(std::numbers::pi * progress));
    default:
      return config.learning_rate();
  }
}

double BehaviourDecay(const v1::AlgorithmConfig& algorithm, uint64_t steps) {
  const double s = static_cast<double>(steps);
  switch (algorithm.behaviour()) {
    case v1::RAMP:
      return std::min(0.001 * s, 0.5);
    case v1::LATE:
      return std::clamp(0.0075 * (s - 75), 0.0, 0.999);
    case v1::FIXED:
      return algorithm.behaviour_decay();
    default:
      return 0;
  }
}

double AverageDecay(uint64_t n, double cap) {
  const double steps = static_cast<double>(n);
  return std::min((1 + steps) / (10 + steps), cap);
}

}  // namespace flowawr
