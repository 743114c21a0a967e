#include "learner/gradient_plan.h"

#include <torch/types.h>

#include <algorithm>
#include <numeric>

#include "common/tensor/transfer.h"

namespace flowawr {

std::vector<int64_t> AllSamples(const Group& group) {
  std::vector<int64_t> samples(static_cast<size_t>(group.x0.size(0)));
  std::iota(samples.begin(), samples.end(), 0);
  return samples;
}

GradientPlan PlanGradient(const GradientRequest& request, const Algorithm& algorithm, int64_t micro_batch) {
  GradientPlan plan{.samples = request.samples};
  std::map<uint64_t, bool> is_current;  // by policy version
  for (size_t i = 0; i < request.batch.size(); ++i) {
    const Group& group = request.batch[i];
    if (request.samples.empty()) plan.samples.push_back(AllSamples(group));
    const int64_t rows = static_cast<int64_t>(plan.samples[i].size()) * algorithm.rows_per_sample();
    plan.rows += rows;
    const uint64_t version = group.lease.policy_version();
    const auto [entry, is_new] = is_current.try_emplace(version, true);
    if (is_new && algorithm.needs().old) entry->second = request.old_adapter(version) == nullptr;
    const bool is_idle = !algorithm.Teaches(request.is_all_equal[i], entry->second);
    for (int64_t begin = 0; begin < rows; begin += micro_batch)
      plan.chunks.push_back({i, begin, std::min(rows, begin + micro_batch), is_idle});
  }
  return plan;
}

TreeSum<at::Tensor> GradientSum(const GradientPlan& plan) {
  return {plan.chunks.size(), [](at::Tensor& sum, const at::Tensor& other) {
            if (!sum.defined()) {
              sum = other;
            } else if (other.defined()) {
              sum.add_(MovedTo(other, sum.device()));
            }
          }};
}

BatchGradient FinishGradient(const GradientRequest& request, const GradientPlan& plan,
                             const std::map<TreeNode, at::Tensor>& nodes, const std::vector<ChunkFigures>& figures) {
  BatchGradient total{.rows = plan.rows, .teaches = !figures.empty()};
  SumFigures(figures, total);
  total.gradient = total.teaches ? MovedTo(at::Tensor(nodes.begin()->second).div_(plan.rows), at::kCPU)
                                 : at::zeros_like(request.current.flat());
  return total;
}

}  // namespace flowawr
