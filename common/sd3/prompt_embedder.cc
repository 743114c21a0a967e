#include "common/sd3/prompt_embedder.h"

#include <spdlog/spdlog.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/status.h"

namespace flowawr {

absl::StatusOr<std::unique_ptr<PromptEmbedder>> PromptEmbedder::Create(const std::string& model_folder,
                                                                       TextEncoders::Options options,
                                                                       const std::string& cache) {
  FLOWAWR_ASSIGN_OR_RETURN(std::unique_ptr<PromptCache> opened,
                           PromptCache::Open(cache, model_folder, options.placement.dtype, options.max_sequence_length));
  return std::unique_ptr<PromptEmbedder>(new PromptEmbedder(model_folder, std::move(options), std::move(opened)));
}

PromptEmbedder::PromptEmbedder(std::string model_folder, TextEncoders::Options options,
                               std::unique_ptr<PromptCache> cache)
    : model_folder_(std::move(model_folder)), options_(std::move(options)), cache_(std::move(cache)) {}

absl::StatusOr<PromptEmbeds> PromptEmbedder::Embed(const std::string& prompt) {
  const absl::StatusOr<PromptEmbeds> cached = cache_->Get(prompt);
  if (cached.ok()) return cached;
  if (!absl::IsNotFound(cached.status())) spdlog::warn("{}; computed anew", cached.status().ToString());
  FLOWAWR_RETURN_IF_ERROR(LoadTextEncoders(prompt));
  for (const std::string& line : encoders_->DescribeCut(prompt)) spdlog::warn("{}", line);
  FLOWAWR_ASSIGN_OR_RETURN(PromptEmbeds embeds, encoders_->EncodePrompts({prompt}));
  if (!writes_) return embeds;
  if (const absl::Status put = cache_->Put(prompt, embeds); !put.ok()) {
    if (absl::IsInvalidArgument(put)) return put;  // no embeddings to work with
    writes_ = false;
    spdlog::warn("prompt embeddings are not cached from here on: {}", put.ToString());
  }
  return embeds;
}

absl::Status PromptEmbedder::LoadTextEncoders(const std::string& prompt) {
  if (encoders_ != nullptr) return absl::OkStatus();
  spdlog::warn(
      "no embeddings of \"{}\" in {}: loading the text encoders, which stay in memory; `flowawr encode` before "
      "the run spares that",
      prompt, cache_->folder());
  const absl::Time begin = MonotonicNow();
  absl::StatusOr<std::unique_ptr<const TextEncoders>> loaded = TextEncoders::Load(model_folder_, options_);
  if (!loaded.ok())
    return Annotate(loaded.status(),
                    absl::StrCat("the prompt \"", prompt, "\" is not in the cache ", cache_->folder(),
                                 " (`flowawr encode` fills it), and the text encoders cannot be loaded"));
  encoders_ = *std::move(loaded);
  spdlog::info("loaded the text encoders in {:.1f} s", absl::ToDoubleSeconds(MonotonicNow() - begin));
  return absl::OkStatus();
}

}  // namespace flowawr
