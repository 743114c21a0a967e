// Text as a word of a shell's command line, for the commands that messages print. Thread-safe, pure.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace flowawr {

// As it stands when no character means anything to a shell, else in single quotes.
std::string ShellQuote(absl::string_view word);

}  // namespace flowawr
