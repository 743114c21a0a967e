#include "learner/adamw.h"

#include <torch/types.h>

#include <cmath>

namespace flowawr {

AdamWState AdamWState::Zero(int64_t size) { return {at::zeros({size}, at::kFloat), at::zeros({size}, at::kFloat), 0}; }

double ClipGradient(at::Tensor& gradient, double max_norm) {
  const double norm = gradient.norm().item<double>();
  // torch.nn.utils.clip_grad_norm_'s coefficient.
  if (max_norm > 0 && norm > max_norm) gradient.mul_(max_norm / (norm + 1e-6));
  return norm;
}

void AdamWStep(const v1::OptimizerConfig& config, double learning_rate, const at::Tensor& gradient,
               at::Tensor& parameters, AdamWState& state) {
  ++state.steps;
  const double step = static_cast<double>(state.steps);
  const double correction1 = 1 - std::pow(config.beta1(), step);
  const double correction2 = 1 - std::pow(config.beta2(), step);
  parameters.mul_(1 - learning_rate * config.weight_decay());
  state.first_moment.lerp_(gradient, 1 - config.beta1());
  state.second_moment.mul_(config.beta2()).addcmul_(gradient, gradient, 1 - config.beta2());
  const at::Tensor denominator = state.second_moment.sqrt().div_(std::sqrt(correction2)).add_(config.epsilon());
  parameters.addcdiv_(state.first_moment, denominator, -learning_rate / correction1);
}

}  // namespace flowawr
