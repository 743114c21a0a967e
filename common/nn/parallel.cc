#include "common/nn/parallel.h"

#include <ATen/Parallel.h>

namespace flowawr {

void ParallelFor(int64_t begin, int64_t end, int64_t grain, absl::FunctionRef<void(int64_t begin, int64_t end)> work) {
  at::parallel_for(begin, end, grain, work);
}

}  // namespace flowawr
