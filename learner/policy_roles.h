// The adapters of a run by role, and how one gradient moves them.
#pragma once

#include <cstdint>

#include "common/nn/lora_adapter.h"
#include "flowawr/v1/config.pb.h"
#include "learner/adamw.h"

namespace flowawr {

// The reference policy needs no adapter: it is the base model.
struct PolicyRoles {
  LoraAdapter current;    // being trained
  LoraAdapter behaviour;  // samples the training groups
  LoraAdapter average;    // evaluated and exported
  AdamWState optimizer;
  uint64_t average_steps = 0;

  // All three equal to `adapter`.
  static PolicyRoles StartFrom(LoraAdapter adapter);

  // All three equal to the seed's LoRA initialisation.
  static PolicyRoles Initialise(std::shared_ptr<const LoraLayout> layout, uint64_t seed);

  // Clips `gradient` ([size] f32, changed), steps the optimiser at `learning_rate`, then behaviour and average. Returns
  // the gradient's norm before clipping. A gradient that is not finite changes nothing: the caller must look at the
  // returned norm.
  double Apply(at::Tensor gradient, const v1::OptimizerConfig& optimizer_config, double learning_rate,
               const v1::AlgorithmConfig& algorithm);
};

}  // namespace flowawr
