// JSON from outside: bounded in depth, and with no second meaning.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace flowawr {

// Parses `text`, which must be one JSON value in valid UTF-8. InvalidArgument, beginning with `name`, for a syntax
// error, a NUL byte, an object with the same key twice (most parsers silently keep one), or more than `max_depth`
// nested arrays and objects. Throws nothing.
absl::StatusOr<nlohmann::json> ParseStrictJson(absl::string_view text, absl::string_view name, int max_depth = 32);

// Reads the file and parses it. NotFound or another error of ReadFile().
absl::StatusOr<nlohmann::json> ReadStrictJson(const std::string& path, size_t max_bytes = size_t{64} << 20);

}  // namespace flowawr
