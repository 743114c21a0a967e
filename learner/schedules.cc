#include "learner/schedules.h"

#include <algorithm>

namespace flowawr {

double BehaviourDecay(v1::BehaviourSchedule schedule, uint64_t step) {
  const double s = static_cast<double>(step);
  switch (schedule) {
    case v1::RAMP:
      return std::min(0.001 * s, 0.5);
    case v1::LATE:
      return std::clamp(0.0075 * (s - 75), 0.0, 0.999);
    default:
      return 0;
  }
}

double AverageDecay(uint64_t n, double cap) {
  const double steps = static_cast<double>(n);
  return std::min((1 + steps) / (10 + steps), cap);
}

}  // namespace flowawr
