#include "tests/learner/scripted_run.h"

#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace flowawr {

BatchSignals ScriptedAlgorithm::Signals(const at::Tensor& rewards, const std::vector<double>& weights) const {
  BatchSignals signals;
  signals.rewards = (rewards * at::tensor(weights, at::kDouble).reshape({-1, 1, 1})).sum(0);
  signals.values = (signals.rewards - signals.rewards.mean(1, /*keepdim=*/true)).to(at::kFloat);
  for (int64_t group = 0; group < signals.values.size(0); ++group) {
    signals.is_all_equal.push_back(signals.values[group].eq(0).all().item<bool>());
    signals.all_equal_groups += signals.is_all_equal.back();
  }
  signals.clip = 5;
  return signals;
}

absl::StatusOr<BatchGradient> ScriptedEngine::Teach(const GradientRequest& request) {
  BatchGradient gradient;
  gradient.gradient = at::full({request.current.layout().size()}, 1.0f);
  gradient.loss = .5;
  gradient.figures = {{"policy_loss", .4}, {"kl", .1}};
  gradient.rows = request.signals.numel();
  gradient.teaches = true;
  return gradient;
}

absl::StatusOr<BatchGradient> ScriptedEngine::Compute(const GradientRequest& request) {
  {
    absl::MutexLock lock(&mutex_);
    const auto write_id = [](std::string* out, const Group& group) { absl::StrAppend(out, group.id()); };
    asked_.push_back(absl::StrCat(request.update, ": ", absl::StrJoin(request.batch, " ", write_id)));
  }
  return script_(request);
}

std::vector<std::string> ScriptedEngine::asked() const {
  absl::MutexLock lock(&mutex_);
  return asked_;
}

}  // namespace flowawr
