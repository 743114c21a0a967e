// A transformer folder with adapters merged into its weights: for programs that know no LoRA, or to serve faster.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/sd3/transformer.h"

namespace flowawr {

// On one random input, relative to the norm of the velocity with the adapters bound as for training, in the base's
// type: beside it, but in f32 folded into it, where merging therefore changes nothing.
struct VelocityDrift {
  double by_merging = 0;   // what merging them changes
  double by_adapters = 0;  // what the adapters change, to compare
};

struct MergeReport {
  int64_t merged_modules = 0;
  // How far the written weights of those modules are from the exact sum, which their type rounds once.
  double mean_weight_error = 0;
  double max_weight_error = 0;
  double mean_weight_change = 0;          // the mean of |scale * alpha / rank * B A|, to compare
  std::optional<VelocityDrift> velocity;  // absent for adapters of other layers than Transformer::Bind() takes
};

// AlreadyExists when there is anything in `folder`, FailedPrecondition when it is none. For a check before long work.
absl::Status CheckMergeFolder(const std::string& folder);

// Writes `folder`, made if absent, as diffusers' SD3Transformer2DModel.from_pretrained() reads it: config.json as it is
// in `base_folder`, and the weights in the types that they have there, W + sum of scale * alpha / rank * B A computed
// in f32 and rounded once. Above `max_shard_bytes` they are split, with an index. One tensor at a time is in memory;
// only the comparison of velocities loads the model whole, first the base, then the merged one.
//
// Errors of CheckMergeFolder(). InvalidArgument lists the modules that the base lacks or has in other sizes, or names a
// weight that would not be finite in its type.
absl::StatusOr<MergeReport> WriteMergedTransformer(const std::string& base_folder,
                                                   const std::vector<WeightedLora>& adapters, const std::string& folder,
                                                   int64_t max_shard_bytes = 5'000'000'000);

}  // namespace flowawr
