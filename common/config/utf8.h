#pragma once

#include <optional>

#include "absl/strings/string_view.h"

namespace flowawr {

// Where the first byte is that is not UTF-8; nullopt when all is. Protobuf strings must be UTF-8, or no one can read
// the message that holds them.
std::optional<size_t> FindInvalidUtf8(absl::string_view text);

}  // namespace flowawr
