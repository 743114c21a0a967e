#include "common/config/utf8.h"

#include "unicode/utf8.h"

namespace flowawr {

std::optional<size_t> FindInvalidUtf8(absl::string_view text) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  const auto size = static_cast<int64_t>(text.size());
  for (int64_t at = 0; at < size;) {
    const int64_t start = at;
    UChar32 character = 0;
    U8_NEXT(bytes, at, size, character);
    if (character < 0) return start;
  }
  return std::nullopt;
}

}  // namespace flowawr
