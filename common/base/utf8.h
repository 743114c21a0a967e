// Text from outside (prompts, file names, what an OCR read, messages of libraries) made safe to send and to show.
//
// Protobuf strings must be UTF-8: a message with one malformed string cannot be read at all by whoever gets it. So
// every text that goes into a proto field or is shortened for a message passes one of these. Pure.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace flowawr {

// Where the first byte is that is not UTF-8; nullopt when all is.
std::optional<size_t> FindInvalidUtf8(absl::string_view text);

bool IsValidUtf8(absl::string_view text);

// `text` with U+FFFD in place of every malformed sequence. Text that is UTF-8 stays as it is.
std::string SanitizeUtf8(absl::string_view text);

// The same, and at most `max_bytes` long: what is cut ends with "..." (where that fits) and never inside a character.
std::string TruncateUtf8(absl::string_view text, size_t max_bytes);

}  // namespace flowawr
