// Prompt embeddings from a cache, and from the text encoders for prompts that it does not hold.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/sd3/component_fingerprints.h"
#include "common/sd3/prompt_cache.h"
#include "common/sd3/prompt_embeds.h"
#include "common/sd3/text_encoders.h"

namespace flowawr {

// Not thread-safe.
class PromptEmbedder {
 public:
  // Uses the cache in the folder `cache`. Loads no text encoder: errors are PromptCache::Open()'s.
  static absl::StatusOr<std::unique_ptr<PromptEmbedder>> Create(const std::string& model_folder,
                                                                TextEncoders::Options options,
                                                                const std::string& cache);

  // [1, T, D] and [1, P]. The first prompt that the cache does not hold, or holds damaged, has the text encoders
  // loaded, which the log tells; they stay. What they give goes into the cache; if it takes nothing (the disk is full),
  // the log says so once and no more is written. An error of loading names the prompt and what to do.
  absl::StatusOr<PromptEmbeds> Embed(const std::string& prompt);

  // Of every tokenizer and text encoder that made what the cache holds.
  const ComponentFingerprints& parts() const { return cache_->parts(); }

  bool has_text_encoders() const { return encoders_ != nullptr; }

 private:
  PromptEmbedder(std::string model_folder, TextEncoders::Options options, std::unique_ptr<PromptCache> cache);

  absl::Status LoadTextEncoders(const std::string& prompt);

  const std::string model_folder_;
  const TextEncoders::Options options_;
  const std::unique_ptr<PromptCache> cache_;
  std::unique_ptr<const TextEncoders> encoders_;
  bool writes_ = true;
};

}  // namespace flowawr
