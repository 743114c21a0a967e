// The header of a safetensors file: where each tensor lies. Needs no LibTorch, allocates in proportion to the header.
//
// Layout: u64 little-endian N, N bytes of JSON, then the data. What the published Python library (0.8) opens is opened:
// white space around the JSON, "__metadata__": null, fields nobody knows, any name and number of dimensions; and what
// it refuses is refused, with InvalidArgument that names the tensor:
// - N above 100,000,000 or beyond the end of the file; anything but one JSON object in UTF-8; deep nesting;
// - an unknown dtype; a negative, fractional or overflowing number;
// - a size that is not elements * bits of the dtype, or that is no whole number of bytes; tensors that overlap, leave a
//   hole or do not end with the file.
// Only a key twice is refused here alone: nobody knows which of the two is meant.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace flowawr {

struct SafetensorsEntry {
  std::string dtype;            // "F32", "BF16", ...: one of those that SafetensorsDtypeBits() knows
  std::vector<uint64_t> shape;  // empty: a scalar
  uint64_t begin = 0;           // bytes from SafetensorsHeader::data_begin
  uint64_t end = 0;
};

struct SafetensorsHeader {
  std::map<std::string, SafetensorsEntry> tensors;
  std::map<std::string, std::string> metadata;
  uint64_t data_begin = 0;  // bytes from the start of the file
};

// 0 for an unknown dtype. F4 and the two F6 take less than a byte.
int SafetensorsDtypeBits(absl::string_view dtype);

// `file` is the whole file; `name` begins every error. Every entry's bytes lie within `file`.
absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(absl::string_view file, absl::string_view name);

}  // namespace flowawr
