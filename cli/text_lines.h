// Text from outside as lines of a terminal. Pure; thread-safe.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace flowawr {

// The columns that a terminal takes for UTF-8 `text`: two for a wide (East Asian) character, none for a combining one.
int DisplayColumns(absl::string_view text);

// All of `text`, in lines of at most `width` columns (at least 8 are assumed). Lines end between words, and inside one
// only where it is longer than a line, then between characters. Lines after the first begin with `indent` spaces.
// Malformed UTF-8 and control characters (line ends too) do not reach the terminal.
std::vector<std::string> WrapText(absl::string_view text, int width, int indent);

}  // namespace flowawr
