#include "cli/prepare_to_compute.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdio>

#include "common/base/usable_cores.h"
#include "common/process/processor.h"

namespace flowawr {

void PrepareToCompute(int threads, at::ScalarType dtype) {
  at::set_num_threads(threads > 0 ? threads : std::min(at::get_num_threads(), UsableCoresHere().count));
  if (dtype == at::kBFloat16 && !SlowBfloat16().empty())
    std::fprintf(stderr, "warning: %s\n", SlowBfloat16().c_str());
}

}  // namespace flowawr
