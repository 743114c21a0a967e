#include "common/sd3/prompt_cache.h"

#include <torch/types.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/file.h"
#include "common/base/sha256.h"
#include "common/base/status.h"
#include "common/sd3/component_loader.h"
#include "common/sd3/transformer_config.h"
#include "common/tensor/checkpoint.h"
#include "common/tensor/safetensors.h"
#include "common/tensor/strict_json.h"

namespace flowawr {
namespace {

namespace fs = std::filesystem;

constexpr int kFormat = 1;  // to be raised when the encoders' arithmetic changes what they give
constexpr char kDescriptionFile[] = "encoders.json";
constexpr char kSuffix[] = ".safetensors";

using Parts = ComponentFingerprints;

std::vector<std::string> MissingOf(const Parts& parts) {
  std::vector<std::string> missing;
  for (const auto& [name, hash] : parts)
    if (hash.empty()) missing.push_back(name);
  return missing;
}

bool Agree(const Parts& some, const Parts& all) {
  return some.size() == all.size() && std::equal(some.begin(), some.end(), all.begin(), [](auto& a, auto& b) {
           return a.first == b.first && (a.second.empty() || a.second == b.second);
         });
}

std::string Describe(const Parts& parts) {
  return nlohmann::json{{"format", kFormat}, {"parts", parts}}.dump(1) + "\n";
}

// Fills in the parts that are missing from what `dir` knows.
absl::StatusOr<Parts> Complete(const Parts& parts, const std::string& dir, const std::string& model_folder) {
  const std::vector<std::string> missing = MissingOf(parts);
  if (missing.empty()) return parts;
  std::set<Parts> found;
  std::error_code error;
  for (fs::directory_iterator entry(dir, error), end; !error && entry != end; entry.increment(error)) {
    const auto json = ReadStrictJson((entry->path() / kDescriptionFile).string());
    if (!json.ok() || !json->is_object() || json->value("format", nlohmann::json()) != kFormat) continue;
    const auto listed = json->find("parts");
    if (listed == json->end() || !listed->is_object()) continue;
    Parts known;
    for (const auto& [name, hash] : listed->items())
      if (hash.is_string()) known[name] = hash.get<std::string>();
    if (Agree(parts, known) && MissingOf(known).empty()) found.insert(known);
  }
  if (found.size() == 1) return *found.begin();
  return absl::FailedPreconditionError(absl::StrCat(
      model_folder, " has no ", absl::StrJoin(missing, ", "), ", and ", dir, " holds prompt embeddings of ",
      found.empty() ? "no text encoders" : "more than one set of text encoders",
      " that would fit the rest. Fetch the whole folder, or run `flowawr encode` where it is whole, into this cache"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<PromptCache>> PromptCache::Open(const std::string& dir, const std::string& model_folder,
                                                               at::ScalarType dtype, int max_sequence_length) {
  FLOWAWR_ASSIGN_OR_RETURN(const ComponentLoader index, ComponentLoader::Open(model_folder, nullptr));
  const std::string config_path = absl::StrCat(model_folder, "/transformer/config.json");
  FLOWAWR_ASSIGN_OR_RETURN(const std::string json, ReadFile(config_path));
  FLOWAWR_ASSIGN_OR_RETURN(const TransformerConfig transformer, ParseTransformerConfig(json, config_path));
  FLOWAWR_ASSIGN_OR_RETURN(const Parts some, FingerprintTextSide(index));
  std::unique_ptr<PromptCache> cache(new PromptCache());
  FLOWAWR_ASSIGN_OR_RETURN(cache->parts_, Complete(some, dir, model_folder));
  cache->description_ = Describe(cache->parts_);
  cache->identity_ = HexSha256(cache->description_);
  cache->folder_ = absl::StrCat(dir, "/", cache->identity_.substr(0, 16));
  cache->dtype_ = dtype;
  cache->max_sequence_length_ = max_sequence_length;
  cache->width_ = transformer.joint_attention_dim;
  cache->pooled_width_ = transformer.pooled_projection_dim;
  return cache;
}

std::string PromptCache::PathOf(const std::string& prompt) const {
  // The prompt comes last, so no two canonical texts are the same.
  const std::string canonical =
      absl::StrCat("encoders ", identity_, "\nwidth ", width_, "\ndtype ", c10::toString(dtype_),
                   "\nmax_sequence_length ", max_sequence_length_, "\nprompt ", prompt);
  return absl::StrCat(folder_, "/", HexSha256(canonical), kSuffix);
}

namespace {

std::string DigestOf(const at::Tensor& embeds, const at::Tensor& pooled) {
  Sha256Hasher hasher;
  for (const at::Tensor& tensor : {embeds.contiguous(), pooled.contiguous()})
    hasher.Update({static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes()});
  return absl::BytesToHexString(hasher.Finish());
}

// The entry's tensors, if they are what is expected.
absl::StatusOr<PromptEmbeds> Entry(const absl::StatusOr<SafetensorsFile>& file, const std::string& path,
                                   const std::string& prompt, at::ScalarType dtype, int64_t least_tokens, int64_t width,
                                   int64_t pooled_width) {
  const auto damaged = [&](absl::string_view what) {
    return absl::DataLossError(absl::StrCat("prompt embeddings ", path, ": ", what));
  };
  if (!file.ok()) return damaged(file.status().message());
  const auto said = file->metadata().find("prompt");
  if (said == file->metadata().end() || said->second != prompt) return damaged("are of another prompt");
  const auto embeds = file->tensors().find("prompt_embeds");
  const int64_t tokens =
      embeds != file->tensors().end() && embeds->second.dim() == 2 ? embeds->second.size(0) : least_tokens;
  if (tokens < least_tokens) return damaged(absl::StrCat(tokens, " tokens, expected at least ", least_tokens));
  const auto checked = file->Get("prompt_embeds", dtype, {tokens, width});
  if (!checked.ok()) return damaged(checked.status().message());
  const auto pooled = file->Get("pooled", dtype, {pooled_width});
  if (!pooled.ok()) return damaged(pooled.status().message());
  const auto digest = file->metadata().find("sha256");
  if (digest == file->metadata().end() || digest->second != DigestOf(*checked, *pooled))
    return damaged("are not those that were written");
  return PromptEmbeds{checked->unsqueeze(0), pooled->unsqueeze(0)};
}

}  // namespace

absl::StatusOr<PromptEmbeds> PromptCache::Get(const std::string& prompt) const {
  const at::NoGradGuard no_grad;
  const std::string path = PathOf(prompt);
  // Read, not mapped: a file that vanishes from a shared file system must not kill the process.
  FLOWAWR_ASSIGN_OR_RETURN(std::string bytes, ReadFile(path));
  return Entry(SafetensorsFile::Parse(std::move(bytes), path), path, prompt, dtype_, max_sequence_length_ + 1, width_,
               pooled_width_);
}

absl::Status PromptCache::Prepare() const {
  FLOWAWR_RETURN_IF_ERROR(MakeDirectories(folder_));
  const std::string description = absl::StrCat(folder_, "/", kDescriptionFile);
  if (std::error_code error; fs::exists(description, error)) return absl::OkStatus();
  return WriteFileAtomically(description, description_);
}

absl::Status PromptCache::Put(const std::string& prompt, const PromptEmbeds& embeds) {
  const at::NoGradGuard no_grad;
  FLOWAWR_RETURN_IF_ERROR(Prepare());
  const at::Tensor tokens = embeds.prompt_embeds.squeeze(0), pooled = embeds.pooled.squeeze(0);
  if (!at::isfinite(tokens).all().item<bool>() || !at::isfinite(pooled).all().item<bool>())
    return absl::InvalidArgumentError(absl::StrCat("the text encoders give \"", prompt, "\" embeddings that are not ",
                                                   "finite: their weights are damaged, or need float32"));
  return WriteSafetensors(PathOf(prompt), {{"prompt_embeds", tokens}, {"pooled", pooled}},
                          {{"prompt", prompt}, {"sha256", DigestOf(tokens, pooled)}});
}

PromptCache::Usage PromptCache::usage() const {
  Usage usage;
  std::error_code error, ignored;
  for (fs::directory_iterator entry(folder_, error), end; !error && entry != end; entry.increment(error)) {
    if (entry->path().extension() != kSuffix) continue;
    const auto size = entry->file_size(ignored);
    if (ignored) continue;  // removed meanwhile
    ++usage.entries;
    usage.bytes += static_cast<int64_t>(size);
  }
  return usage;
}

}  // namespace flowawr
