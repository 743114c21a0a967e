// What is worth a word about prompt files beside the lines that no run could use.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/config/prompts.h"

namespace flowawr {

struct NamedPrompts {
  std::string file;
  const PromptSet* prompts = nullptr;
};

// A sentence about each file with prompts that it repeats, or shares with a file before it. Pure.
std::vector<std::string> DescribeRepeatedPrompts(const std::vector<NamedPrompts>& files);

// Prompts that the text encoders of the diffusers folder `model` do not read to their end, at `max_sequence_length` T5
// tokens: how many, and a sentence about each of the first `most`. Reads tokenizers, no weights. Errors as the loaders'.
struct CutPrompts {
  size_t count = 0;
  std::vector<std::string> sentences;
};
absl::StatusOr<CutPrompts> FindCutPrompts(const std::string& model, int max_sequence_length,
                                          const std::vector<NamedPrompts>& files, size_t most);

}  // namespace flowawr
