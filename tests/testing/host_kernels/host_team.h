// A team of lanes (common/nn/cuda/elements.h) as a loop: the host's stand-in for a warp or a block. Sums are added in
// the order in which a device adds them.
#pragma once

#include <array>
#include <cstddef>

#include "common/nn/cuda/group_norm.h"

namespace flowawr::cuda {

template <int kWidth>
struct HostTeam {
  static constexpr int kLanes = kWidth;

  template <typename F>
  void ForLanes(F f) const {
    for (int lane = 0; lane < kLanes; ++lane) f(lane);
  }

  template <typename F>
  float Sum(F f) const {
    return Tree<float>(f, [](float a, float b) { return a + b; });
  }

  template <typename F>
  Moments Merge(F f) const {
    return Tree<Moments>(f, Merged);
  }

 private:
  // Every lane exchanges what it has with the lane that is `apart`, half as far each time; what the first lane has.
  template <typename Value, typename F, typename Combine>
  static Value Tree(F f, Combine combine) {
    std::array<Value, kLanes> values;
    for (int lane = 0; lane < kLanes; ++lane) values[static_cast<size_t>(lane)] = f(lane);
    for (int apart = kLanes / 2; apart > 0; apart /= 2) {
      const std::array<Value, kLanes> before = values;
      for (int lane = 0; lane < kLanes; ++lane)
        values[static_cast<size_t>(lane)] =
            combine(before[static_cast<size_t>(lane)], before[static_cast<size_t>(lane ^ apart)]);
    }
    return values[0];
  }
};

}  // namespace flowawr::cuda
