// The header of a safetensors file: where each tensor lies. Needs no LibTorch, allocates in proportion to the header.
//
// Layout: u64 little-endian N, N bytes of JSON, then the data. Refused, with InvalidArgument that names the tensor:
// - N above 100,000,000 or beyond the end of the file; anything but one JSON object in UTF-8; a key twice; deep
// nesting;
// - an unknown dtype; a negative, fractional or overflowing number; more than 8 dimensions; a name above 1,024 bytes;
// - a size that is not elements * bytes of the dtype; tensors that overlap, leave a hole or do not end with the file.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace flowawr {

struct SafetensorsEntry {
  std::string dtype;           // "F32", "BF16", ...: one of those that SafetensorsDtypeBytes() knows
  std::vector<int64_t> shape;  // empty: a scalar
  uint64_t begin = 0;          // bytes from SafetensorsHeader::data_begin
  uint64_t end = 0;
};

struct SafetensorsHeader {
  std::map<std::string, SafetensorsEntry> tensors;
  std::map<std::string, std::string> metadata;
  uint64_t data_begin = 0;  // bytes from the start of the file
};

// 0 for an unknown dtype.
int SafetensorsDtypeBytes(absl::string_view dtype);

// `file` is the whole file; `name` begins every error. Every entry's bytes lie within `file`.
absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(absl::string_view file, absl::string_view name);

}  // namespace flowawr
