// Teams of lanes on a device (elements.h), and how kernels share work out among them.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

#include "common/nn/cuda/group_norm.h"

namespace flowawr::cuda {

// kWidth lanes of a warp side by side: the whole warp, or several teams in one.
template <int kWidth>
struct WarpTeam {
  static constexpr int kLanes = kWidth;

  template <typename F>
  __device__ void ForLanes(F f) const {
    f(Lane());
    __syncwarp(Mask());
  }

  template <typename F>
  __device__ float Sum(F f) const {
    float sum = f(Lane());
    for (int apart = kLanes / 2; apart > 0; apart /= 2) sum += __shfl_xor_sync(Mask(), sum, apart, kLanes);
    return sum;
  }

  // The first lane's: the order in which moments are merged shows in their last bit.
  template <typename F>
  __device__ Moments Merge(F f) const {
    Moments moments = f(Lane());
    for (int apart = kLanes / 2; apart > 0; apart /= 2) {
      const Moments other = {__shfl_xor_sync(Mask(), moments.count, apart, kLanes),
                             __shfl_xor_sync(Mask(), moments.mean, apart, kLanes),
                             __shfl_xor_sync(Mask(), moments.squares, apart, kLanes)};
      moments = Merged(moments, other);
    }
    return {__shfl_sync(Mask(), moments.count, 0, kLanes), __shfl_sync(Mask(), moments.mean, 0, kLanes),
            __shfl_sync(Mask(), moments.squares, 0, kLanes)};
  }

 private:
  static __device__ int Lane() { return static_cast<int>(threadIdx.x) % kLanes; }
  // Only this team's lanes: others of the warp may be done, or in another row.
  static __device__ unsigned Mask() {
    constexpr unsigned kOnes = kLanes == 32 ? ~0u : (1u << kLanes % 32) - 1;
    return kOnes << (threadIdx.x % 32 / kLanes * kLanes);
  }
};

// All threads of a block.
template <int kWidth>
struct BlockTeam {
  static constexpr int kLanes = kWidth;

  template <typename F>
  __device__ void ForLanes(F f) const {
    f(static_cast<int>(threadIdx.x));
    __syncthreads();
  }
};

inline constexpr int kThreads = 128;  // of a block; measured nowhere yet: a usual size for kernels bound by memory

// Blocks for `units` of work of which a block does `in_block` at a time; what is more than the bound is done in turns.
inline unsigned BlocksFor(int64_t units, int64_t in_block) {
  constexpr int64_t kMost = int64_t{1} << 20;
  return static_cast<unsigned>(std::min(kMost, (units + in_block - 1) / in_block));
}

}  // namespace flowawr::cuda
