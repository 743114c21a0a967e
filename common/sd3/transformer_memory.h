// How much memory the transformer's forward and backward passes take beside the weights, from the configuration alone.
//
// The passes are gone through as transformer_block.cc does them, operation by operation, on a MemoryLedger: what each
// operation makes, what its autograd function keeps for the backward pass, and when the last holder lets go. That gives
// the true peak, wherever it lies. What is kept, as a rule of thumb, for a row of N image and T text tokens of width d
// in the base's type, with an adapter on the joint attention's layers:
//
//   block computed in one go   d (11 N + 11 T), for a dual block d (15 N + 11 T): the inputs of both norms, of q/k/v
//   and
//                              of the feed-forward's GELU (4), q/k/v (3) and what was attended to (1), the second
//                              attention's q/k/v and result (4)
//   checkpointed block         d (N + T), and while its backward pass runs one block as above with its gradients
//
// The model of the kernels that are used follows lora_linear.cc, fused_ops.cc and joint_attention.cc on CPU.
#pragma once

#include <cstdint>

#include "common/sd3/model_size.h"

namespace flowawr {

// Beside the ledger: pages of LibTorch's code and data that a process touches when it first computes, and what matrix
// products and convolutions take for themselves. Measured.
inline constexpr int64_t kComputingBytes = int64_t{32} << 20;

struct PassShape {
  int64_t rows = 1;  // samples in one pass
  int64_t latent_height = 0, latent_width = 0;
  int64_t text_tokens = 0;
  int64_t bytes = 4;             // of one value of the base: 2 or 4
  int64_t threads = 1;           // LibTorch's
  bool has_bf16_kernels = true;  // kernels::HasBf16Instructions()
};

struct PassMemory {
  int64_t kept = 0;  // bytes that the forward pass leaves for the backward pass
  int64_t peak = 0;  // the most that is live at any time, `kept` included
};

// One micro-batch: velocity without gradients (v_ref) if `has_reference`, then v_theta, the loss and its gradient,
// which is left as one vector. Rows share the prompt, not sigma.
PassMemory TrainingMemory(const TransformerConfig& config, const LoraTargets& lora, const PassShape& shape,
                          int64_t checkpointed_blocks, bool has_reference);

// What Transformer::Bind() makes of an adapter beside its vector, to train it: its matrices packed for the bfloat16
// kernels, or the layers that it changes with it folded in (f32).
int64_t BoundAdapterBytes(const TransformerConfig& config, const LoraTargets& lora, const PassShape& shape);

// One solver step of rows that share prompt and sigma, an adapter being merged.
PassMemory SamplingMemory(const TransformerConfig& config, const PassShape& shape);

}  // namespace flowawr
