// How often actors came and went, since this process began.
#pragma once

#include <cstdint>

namespace flowawr {

struct FleetCounts {
  uint64_t joined = 0;  // began, with the run's model; a start anew counts again
  uint64_t left = 0;    // in good order
  uint64_t lost = 0;    // not heard of any more, or began anew without having left
};

}  // namespace flowawr
