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

  // A deep copy.
  PolicyRoles Clone() const;

  // One optimiser step: clips `gradient` ([size] f32, changed) and moves `current` at `learning_rate`, then the average
  // after it. Returns the gradient's norm before clipping. A gradient that is not finite changes nothing: the caller must
  // look at the returned norm.
  double Step(at::Tensor gradient, const v1::OptimizerConfig& optimizer_config, double learning_rate,
              double average_decay_cap);

  // Once a batch, after its last step. With decay 0 the behaviour gets the current policy's bits.
  void FollowBehaviour(const v1::AlgorithmConfig& algorithm);
};

}  // namespace flowawr
