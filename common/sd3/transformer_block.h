// One block of MMDiT or MMDiT-X, and the same with its activations computed again in the backward pass.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/sd3/transformer_adapter.h"
#include "common/sd3/transformer_weights.h"

namespace flowawr {

// Hands out the vectors [batch, dim] of the stacked AdaLN projections in the order in which they are stacked. A copy
// goes on from where the original stands.
class Modulation {
 public:
  Modulation(const at::Tensor& stacked, int64_t dim) : chunks_(stacked.split(dim, 1)) {}

  const at::Tensor& Next() { return chunks_.at(next_++); }
  void Skip(size_t chunks) { next_ += chunks; }

 private:
  std::vector<at::Tensor> chunks_;
  size_t next_ = 0;
};

// The streams [batch, tokens, dim] that go through the blocks; each block puts its own in their place.
struct Streams {
  at::Tensor& image;
  at::Tensor& text;
};

void RunBlock(const JointBlock& block, const ActiveAdapter& linear, int64_t heads, Modulation& modulation,
              Streams streams);

// The same values and gradients. Keeps the block's inputs alone; `block` must outlive the backward pass.
void RunCheckpointedBlock(const JointBlock& block, const ActiveAdapter& linear, int64_t heads, Modulation& modulation,
                          Streams streams);

}  // namespace flowawr
