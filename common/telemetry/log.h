// Logging goes through spdlog: spdlog::info("batch {} trained", n) and so on, to stderr.
#pragma once

#include "absl/strings/string_view.h"
#include "spdlog/spdlog.h"

namespace flowawr {

// Every message carries the time, `process_name` and the level; its further lines are indented, and control characters
// are written as \x1b, so that no text from outside looks like a line of ours or moves a terminal's cursor. Call first thing in main(). `level`: trace, debug, info,
// warn, error or off; anything else logs a warning and means info.
void InitLogging(absl::string_view process_name, absl::string_view level = "info");

}  // namespace flowawr
