// What a message says of its tensors before they come: names, types and sizes. Pure.
#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace flowawr {

struct TensorHead {
  std::string name;
  c10::ScalarType dtype = c10::ScalarType::Float;  // Float, Double, Long or Byte
  std::vector<int64_t> dims = {};
  bool is_vector = false;        // as of RankMessage
  bool is_by_device = false;     // it comes from device to device

  int64_t bytes() const;
  bool operator==(const TensorHead&) const = default;
};

std::string SerializeHeads(const std::vector<TensorHead>& heads);

// InvalidArgument for any text that is not of SerializeHeads(), a name that comes twice, a vector that is none, and
// tensors of more than `most_bytes` together.
absl::StatusOr<std::vector<TensorHead>> ParseHeads(const std::string& text, int64_t most_bytes);

}  // namespace flowawr
