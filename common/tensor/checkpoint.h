// The weights of one model in a diffusers or transformers folder, whichever way they were published.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "common/tensor/safetensors.h"

namespace flowawr {

struct CheckpointTensors {
  std::string file;     // what was read: the file, or the index that names the shards
  std::string variant;  // "bf16" or "fp16" if only such a copy of the weights is there, else empty
  std::map<std::string, at::Tensor> tensors;  // views of the mapped files: nothing but headers is read yet
  UnusableTensors unusable;                   // what else is there
};

// Looks in `folder` for, in this order, and takes the first that is there:
// - `stem`.safetensors, or shards listed by `stem`.safetensors.index.json;
// - `stem`.bf16.safetensors, or shards listed by `stem`.safetensors.index.bf16.json;
// - the same with fp16.
// Where a file and an index lie side by side, "model" is the file (as for transformers), any other stem the index (as
// for diffusers). An index may only name files beside it. NotFound that says what is there instead; InvalidArgument
// lists everything that is wrong with the index and the shards.
absl::StatusOr<CheckpointTensors> OpenCheckpoint(const std::string& folder, const std::string& stem);

}  // namespace flowawr
