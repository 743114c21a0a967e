// What a shell completes after a program's name, from what its command line takes.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/process/command_tree.h"

namespace flowawr {

// The script that `shell` is to read: commands and options with what they are for, files where a value is wanted.
// InvalidArgument, naming the shells there are, for another than bash, zsh and fish. Pure.
absl::StatusOr<std::string> CompletionScript(const CommandEntry& program, absl::string_view shell);

}  // namespace flowawr
