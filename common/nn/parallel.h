// Work shared out among LibTorch's threads.
#pragma once

#include <cstdint>

#include "absl/functional/function_ref.h"

namespace flowawr {

// Calls `work` with ranges that cut [begin, end), each of at least `grain` if several; returns when all are done. Takes
// at most at::get_num_threads() threads, one inside another ParallelFor. `work` must not throw.
//
// at::parallel_for is a template that works in one thread unless its user is compiled for OpenMP: this is the one
// source file that is.
void ParallelFor(int64_t begin, int64_t end, int64_t grain, absl::FunctionRef<void(int64_t begin, int64_t end)> work);

}  // namespace flowawr
