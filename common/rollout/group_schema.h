// The tensors that a group brings: one list, from which the actor writes, the learner bounds and checks, and the largest
// size of its message follows. Pure.
#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>
#include <string>
#include <vector>

#include "flowawr/v1/rollout.pb.h"

namespace flowawr {

// Sizes that follow from the model and the configuration.
struct GroupShape {
  int64_t channels = 0, latent_height = 0, latent_width = 0;
  int64_t max_tokens = 0, embed_dim = 0, pooled_dim = 0;
  int64_t image_height = 0, image_width = 0;
};

struct GroupTensor {
  std::string name;
  c10::ScalarType dtype;
  std::vector<int64_t> dims;    // the largest; only the dimension `variable` may be smaller, but not below 1
  int variable = -1;            // -1: none
  double greatest = 0;          // values beyond plus or minus this are no sampler's and no encoder's; 0: any value will do
};

// Those of a group made for `lease`, in the order of their names' bytes: x0, embeddings; a trajectory where steps are
// stochastic; pictures where they are wanted; the empty prompt's embeddings where guidance is.
std::vector<GroupTensor> GroupSchema(const v1::Lease& lease, const GroupShape& shape);

// No valid group with those tensors is larger.
uint64_t MaxBlobBytes(const std::vector<GroupTensor>& schema);

}  // namespace flowawr
