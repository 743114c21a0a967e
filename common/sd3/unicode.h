// The few Unicode questions that tokenizers ask. ICU answers them.
#pragma once

#include <unicode/uchar.h>
#include <unicode/utf8.h>

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace flowawr {

// The code point that begins at `at`, which moves behind it. Malformed bytes give a negative value.
inline UChar32 NextCodePoint(absl::string_view text, size_t& at) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  int64_t position = at;
  const int64_t size = text.size();
  UChar32 code_point;
  U8_NEXT(bytes, position, size, code_point);
  at = position;
  return code_point;
}

inline void AppendCodePoint(UChar32 code_point, std::string& text) {
  uint8_t bytes[U8_MAX_LENGTH];
  int length = 0;
  U8_APPEND_UNSAFE(bytes, length, code_point);
  text.append(reinterpret_cast<const char*>(bytes), length);
}

inline bool IsWhiteSpace(UChar32 c) { return u_isUWhiteSpace(c); }

}  // namespace flowawr
