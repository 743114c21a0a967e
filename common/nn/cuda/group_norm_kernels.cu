// A block a chunk of pixels for the moments, a warp a group to finish them, a thread a pack for the result.
#include "common/nn/cuda/group_norm.h"
#include "common/nn/cuda/kernels.h"
#include "common/nn/cuda/team.cuh"

namespace flowawr::cuda {
namespace {

template <int kWidth, typename T>
__global__ void __launch_bounds__(kMomentLanes) MomentsKernel(const GroupNormSiluCall call) {
  extern __shared__ float shared[];
  const BlockTeam<kMomentLanes> team;
  const int64_t chunks = GroupNormChunks(call);
  for (int64_t i = blockIdx.x; i < call.batch * chunks; i += gridDim.x)
    TakeChunkMoments<kWidth, T>(team, call, i / chunks, i % chunks, shared);
}

template <typename T>
__global__ void __launch_bounds__(kThreads) FinishKernel(const GroupNormSiluCall call) {
  constexpr int kTeams = kThreads / kFinishLanes;
  const WarpTeam<kFinishLanes> team;
  const int64_t groups = call.batch * call.groups;
  for (int64_t i = int64_t{blockIdx.x} * kTeams + threadIdx.x / kFinishLanes; i < groups;
       i += int64_t{gridDim.x} * kTeams)
    FinishGroup<T>(team, call, i / call.groups, i % call.groups);
}

template <int kWidth, typename T>
__global__ void __launch_bounds__(kThreads) ScaleSiluKernel(const GroupNormSiluCall call) {
  const int64_t packs = call.pixels * call.channels / kWidth;
  for (int64_t sample = blockIdx.y; sample < call.batch; sample += gridDim.y)
    for (int64_t pack = int64_t{blockIdx.x} * kThreads + threadIdx.x; pack < packs;
         pack += int64_t{gridDim.x} * kThreads)
      ScaleSiluPack<kWidth, T>(call, sample, pack);
}

}  // namespace

int32_t GroupNormSilu(const GroupNormSiluCall& call, void* stream) {
  if (call.batch * call.pixels * call.channels == 0) return cudaSuccess;
  return ForElement(
      call.element, FitsPacks(call), [&]<typename T, int kWidth>(ElementType<T>, PackOf<kWidth>) -> int32_t {
        const auto on = static_cast<cudaStream_t>(stream);
        const size_t shared = SharedFloats<kWidth, kMomentLanes>(call) * sizeof(float);
        MomentsKernel<kWidth, T><<<BlocksFor(call.batch * GroupNormChunks(call), 1), kMomentLanes, shared, on>>>(call);
        if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) return error;
        FinishKernel<T><<<BlocksFor(call.batch * call.groups, kThreads / kFinishLanes), kThreads, 0, on>>>(call);
        if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) return error;
        constexpr int64_t kMostSamples = 65535;  // in the grid's second dimension
        const dim3 grid(BlocksFor(call.pixels * call.channels / kWidth, kThreads),
                        static_cast<unsigned>(std::min(call.batch, kMostSamples)));
        ScaleSiluKernel<kWidth, T><<<grid, kThreads, 0, on>>>(call);
        return cudaGetLastError();
      });
}

}  // namespace flowawr::cuda
