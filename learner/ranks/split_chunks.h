// Which rank computes which chunks. Pure.
#pragma once

#include <vector>

#include "learner/gradient_plan.h"

namespace flowawr {

// Parts of `range`, in order, with about as many chunks each as are not idle; fewer than `parts` where there are fewer
// of those. They end where nodes of the plan's tree do, so that a part is a few nodes and little has to be sent: a share
// is off by up to an eighth of itself.
std::vector<ChunkRange> SplitChunks(const GradientPlan& plan, ChunkRange range, size_t parts);

}  // namespace flowawr
