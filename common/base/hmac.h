// Shows that one knows a secret without showing the secret.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace flowawr {

// HMAC-SHA256 of `bytes` under `key`, RFC 2104: 32 raw bytes.
std::string HmacSha256(absl::string_view key, absl::string_view bytes);

}  // namespace flowawr
