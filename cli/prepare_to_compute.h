// What the commands of `flowawr` that compute by themselves do first.
#pragma once

#include <c10/core/ScalarType.h>

namespace flowawr {

// Sets the threads of LibTorch's operations: `threads`, or for 0 one a usable core (common/base/usable_cores.h), or what
// OMP_NUM_THREADS says if that is less. Says on stderr when `dtype` is slow on this processor.
void PrepareToCompute(int threads, at::ScalarType dtype);

}  // namespace flowawr
