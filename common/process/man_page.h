// A program's manual page, for man(1), from what its --help tells.
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "common/process/command_tree.h"

namespace flowawr {

// Section 1, in the macros of man(7); ends with a newline. Pure.
std::string ManPage(const CommandEntry& program, absl::string_view version);

}  // namespace flowawr
