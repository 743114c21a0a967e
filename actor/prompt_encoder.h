// Prompt embeddings from text encoders or a cache on disk, with the few used last kept in memory.
//
// Evaluation asks for the same prompts again and again, and a failed group comes back with the same prompt. Not
// thread-safe: the encode stage owns it.
#pragma once

#include <cstddef>
#include <functional>
#include <list>
#include <string>
#include <unordered_map>
#include <utility>

#include "absl/status/statusor.h"
#include "common/sd3/prompt_embeds.h"

namespace flowawr {

class PromptEncoder {
 public:
  using Encode = std::function<absl::StatusOr<PromptEmbeds>(const std::string& prompt)>;

  PromptEncoder(Encode encode, size_t capacity) : encode_(std::move(encode)), capacity_(capacity) {}

  // [1, T, D] and [1, P]. Tensors are shared with the cache: do not write to them.
  absl::StatusOr<PromptEmbeds> Get(const std::string& prompt);

 private:
  using Entry = std::pair<std::string, PromptEmbeds>;

  Encode encode_;
  const size_t capacity_;
  std::list<Entry> entries_;  // used last comes first
  std::unordered_map<std::string, std::list<Entry>::iterator> by_prompt_;
};

}  // namespace flowawr
