#include "learner/policy_roles.h"

#include <torch/types.h>

#include <cmath>
#include <utility>

#include "learner/random_streams.h"
#include "learner/schedules.h"

namespace flowawr {

PolicyRoles PolicyRoles::StartFrom(LoraAdapter adapter) {
  LoraAdapter behaviour = adapter.Clone(), average = adapter.Clone();
  const int64_t size = adapter.layout().size();
  return {std::move(adapter), std::move(behaviour), std::move(average), AdamWState::Zero(size), 0};
}

PolicyRoles PolicyRoles::Initialise(std::shared_ptr<const LoraLayout> layout, uint64_t seed) {
  return StartFrom(LoraAdapter::Initialise(std::move(layout), RandomStream(RandomUse::kLoraInit, seed)));
}

PolicyRoles PolicyRoles::Clone() const {
  return {current.Clone(), behaviour.Clone(), average.Clone(),
          {optimizer.first_moment.clone(), optimizer.second_moment.clone(), optimizer.steps}, average_steps};
}

double PolicyRoles::Step(at::Tensor gradient, const v1::OptimizerConfig& optimizer_config, double learning_rate,
                         double average_decay_cap) {
  const at::NoGradGuard no_grad;
  const double norm = ClipGradient(gradient, optimizer_config.max_grad_norm());
  if (!std::isfinite(norm)) return norm;
  at::Tensor parameters = current.flat();
  AdamWStep(optimizer_config, learning_rate, gradient, parameters, optimizer);
  average.flat().lerp_(parameters, 1 - AverageDecay(average_steps++, average_decay_cap));
  return norm;
}

void PolicyRoles::FollowBehaviour(const v1::AlgorithmConfig& algorithm) {
  const at::NoGradGuard no_grad;
  const double decay = BehaviourDecay(algorithm, optimizer.steps);
  if (decay == 0) {
    behaviour.flat().copy_(current.flat());  // bit for bit, so that v_old need not be computed
  } else {
    behaviour.flat().lerp_(current.flat(), 1 - decay);
  }
}

}  // namespace flowawr
