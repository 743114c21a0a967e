// Prompt sets.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "flowawr/v1/rollout.pb.h"

namespace flowawr {

// Reads a prompt set; `index` counts from 0 in file order. Repeated prompts are kept.
//
// *.jsonl: one JSON object a line; "prompt" is the text, every other field becomes metadata (strings as they are,
// other values as JSON text). Any other name: one prompt a line, blanks around it removed; empty lines and lines that
// start with # are left out. UTF-8.
//
// InvalidArgument names file:line; also when there is no prompt at all. NotFound when there is no such file.
absl::StatusOr<std::vector<v1::Prompt>> LoadPrompts(const std::string& path);

}  // namespace flowawr
