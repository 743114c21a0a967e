#include "common/sd3/component_fingerprints.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/file.h"
#include "common/base/sha256.h"
#include "common/base/status.h"
#include "common/sd3/model_fingerprint.h"
#include "common/tensor/checkpoint.h"
#include "common/tensor/strict_json.h"

namespace flowawr {
namespace {

constexpr size_t kMostTokenizerBytes = size_t{64} << 20;

bool Exists(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

// Without what says who wrote it, and when.
absl::StatusOr<std::string> CanonicalJson(const std::string& path) {
  FLOWAWR_ASSIGN_OR_RETURN(nlohmann::json json, ReadStrictJson(path));
  if (json.is_object()) {
    std::vector<std::string> notes;
    for (const auto& [key, value] : json.items())
      if (absl::StartsWith(key, "_") || key == "transformers_version" || key == "torch_dtype" || key == "dtype" ||
          key == "name_or_path")
        notes.push_back(key);
    for (const std::string& key : notes) json.erase(key);
  }
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

absl::StatusOr<std::string> FingerprintOfWeights(const std::string& folder, const char* stem) {
  FLOWAWR_ASSIGN_OR_RETURN(std::string config, CanonicalJson(folder + "/config.json"));
  FLOWAWR_ASSIGN_OR_RETURN(CheckpointTensors weights, OpenCheckpoint(folder, stem));
  return ModelFingerprint(std::move(config), std::move(weights.tensors)).Hex();
}

absl::StatusOr<std::string> FingerprintOfFiles(const std::string& folder, const std::vector<std::string>& names) {
  Sha256Hasher hasher;
  for (const std::string& name : names) {
    const std::string path = absl::StrCat(folder, "/", name);
    if (!Exists(path)) continue;
    std::string bytes;
    if (absl::EndsWith(name, ".json")) {
      FLOWAWR_ASSIGN_OR_RETURN(bytes, CanonicalJson(path));
    } else {
      FLOWAWR_ASSIGN_OR_RETURN(bytes, ReadFile(path, kMostTokenizerBytes));
    }
    hasher.Update(absl::StrCat(name, " ", bytes.size(), "\n"));
    hasher.Update(bytes);
  }
  return absl::BytesToHexString(hasher.Finish());
}

bool IsText(const std::string& component) {
  return absl::StartsWith(component, "text_encoder") || absl::StartsWith(component, "tokenizer");
}

}  // namespace

absl::StatusOr<ComponentFingerprints> FingerprintComponents(const std::string& model_folder) {
  ComponentFingerprints fingerprints;
  const auto path_of = [&](const std::string& component) { return absl::StrCat(model_folder, "/", component); };
  for (const auto& [component, stem] :
       {std::pair("vae", "diffusion_pytorch_model"), std::pair("text_encoder", "model"),
        std::pair("text_encoder_2", "model"), std::pair("text_encoder_3", "model")}) {
    if (!Exists(path_of(component) + "/config.json")) continue;
    absl::StatusOr<std::string> hex = FingerprintOfWeights(path_of(component), stem);
    // An actor that takes its embeddings from a cache may have left out the encoders' weights.
    if (absl::IsNotFound(hex.status()) && IsText(component)) continue;
    if (!hex.ok()) return Annotate(hex.status(), component);
    fingerprints[component] = *std::move(hex);
  }
  for (const char* tokenizer : {"tokenizer", "tokenizer_2", "tokenizer_3"}) {
    if (!Exists(path_of(tokenizer))) continue;
    FLOWAWR_ASSIGN_OR_RETURN(
        fingerprints[tokenizer],
        FingerprintOfFiles(path_of(tokenizer),
                           {"vocab.json", "merges.txt", "spiece.model", "tokenizer.json", "tokenizer_config.json"}));
  }
  if (Exists(path_of("scheduler"))) {
    FLOWAWR_ASSIGN_OR_RETURN(fingerprints["scheduler"],
                             FingerprintOfFiles(path_of("scheduler"), {"scheduler_config.json"}));
  }
  return fingerprints;
}

absl::Status CompareComponents(const ComponentFingerprints& ours, const ComponentFingerprints& theirs,
                               bool may_lack_text) {
  std::set<std::string> components;
  for (const auto& [component, hex] : ours) components.insert(component);
  for (const auto& [component, hex] : theirs) components.insert(component);
  std::vector<std::string> differing;
  for (const std::string& component : components) {
    const auto mine = ours.find(component), other = theirs.find(component);
    const bool is_lacking = mine == ours.end() || other == theirs.end();
    if (is_lacking ? may_lack_text && IsText(component) : mine->second == other->second) continue;
    differing.push_back(is_lacking ? absl::StrCat(component, " (", other == theirs.end() ? "missing" : "too much", ")")
                                   : component);
  }
  if (differing.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("another model in: ", absl::StrJoin(differing, ", ")));
}

}  // namespace flowawr
