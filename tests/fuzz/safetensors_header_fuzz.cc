// Tensor files of any bytes: every tensor that the header announces lies within the file and has the size of its shape.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include "common/tensor/safetensors_header.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // The length field is given: random eight bytes are hardly ever a length.
  const std::string text(reinterpret_cast<const char*>(data), size);
  const uint64_t header_size = std::min(text.size(), text.find('\0'));
  std::string file(sizeof header_size, '\0');
  std::memcpy(file.data(), &header_size, sizeof header_size);
  file += text;
  for (const absl::string_view input : {absl::string_view(text), absl::string_view(file)}) {
    const auto header = flowawr::ParseSafetensorsHeader(input, "fuzz");
    if (!header.ok()) continue;
    for (const auto& [name, entry] : header->tensors) {
      uint64_t bits = flowawr::SafetensorsDtypeBits(entry.dtype);
      for (const uint64_t side : entry.shape) bits *= side;
      const uint64_t data_size = input.size() - header->data_begin;
      if (entry.begin > entry.end || entry.end > data_size || (entry.end - entry.begin) * 8 != bits) abort();
    }
  }
  return 0;
}
