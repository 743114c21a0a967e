// A block a token of the joint sequence, kHeadLanes lanes a head: teams side by side read heads side by side.
#include "common/nn/cuda/heads.h"
#include "common/nn/cuda/kernels.h"
#include "common/nn/cuda/team.cuh"

namespace flowawr::cuda {
namespace {

// The call is a grid constant: it is indexed where it is, by stream and part, and not copied to local memory.
template <int kWidth, typename T, typename Call>
__global__ void __launch_bounds__(kThreads) HeadsKernel(const __grid_constant__ Call call, int64_t tokens) {
  constexpr int kTeams = kThreads / kHeadLanes;
  const WarpTeam<kHeadLanes> team;
  for (int64_t index = blockIdx.x; index < tokens; index += gridDim.x) {
    const JointToken at = JointTokenAt(call, index);
    for (int unit = threadIdx.x / kHeadLanes; unit < UnitsOf(call, at); unit += kTeams)
      ComputeUnit<kWidth, T>(team, call, at, unit);
  }
}

template <typename Call>
int32_t Start(const Call& call, void* stream) {
  const int64_t tokens = call.size.batch * (call.streams[0].tokens + call.streams[1].tokens);
  if (tokens == 0 || call.size.head_dim == 0) return cudaSuccess;
  return ForElement(
      call.element, FitsPacks(call), [&]<typename T, int kWidth>(ElementType<T>, PackOf<kWidth>) -> int32_t {
        HeadsKernel<kWidth, T><<<BlocksFor(tokens, 1), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(call, tokens);
        return cudaGetLastError();
      });
}

}  // namespace

int32_t JoinHeads(const JoinHeadsCall& call, void* stream) { return Start(call, stream); }
int32_t JoinHeadsBackward(const JoinHeadsBackwardCall& call, void* stream) { return Start(call, stream); }

}  // namespace flowawr::cuda
