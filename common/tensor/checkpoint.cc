#include "common/tensor/checkpoint.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status.h"
#include "common/tensor/safetensors.h"
#include "common/tensor/strict_json.h"

namespace flowawr {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// A link to nothing is there too: opening it tells what is wrong.
bool IsThere(const std::string& path) {
  std::error_code ignored;
  const fs::file_type type = fs::symlink_status(path, ignored).type();
  return type != fs::file_type::none && type != fs::file_type::not_found;
}

// What else in the folder looks like weights, for somebody who wonders why it is not read.
std::string OtherWeights(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string(), extension = entry.path().extension().string();
    for (const char* weights : {".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".msgpack", ".gguf"})
      if (extension == weights) names.push_back(name);
  }
  if (error) return "; there is no such folder";
  if (names.empty()) return "; fetch the weights into that folder";
  std::sort(names.begin(), names.end());
  names.resize(std::min<size_t>(names.size(), 5));
  return absl::StrCat("; what is there is not read: ", absl::StrJoin(names, ", "));
}

absl::StatusOr<CheckpointTensors> OpenShards(const std::string& folder, const std::string& index_path) {
  FLOWAWR_ASSIGN_OR_RETURN(const json index, ReadStrictJson(index_path));
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object())
    return absl::InvalidArgumentError(absl::StrCat(index_path, ": no weight_map object"));
  CheckpointTensors checkpoint{.file = index_path, .variant = "", .tensors = {}, .unusable = {}};
  std::map<std::string, absl::StatusOr<SafetensorsFile>> shards;
  std::vector<std::string> complaints;
  for (const auto& [name, value] : index["weight_map"].items()) {
    const std::string shard = value.is_string() ? value.get<std::string>() : "";
    if (shard.empty() || absl::StrContains(shard, "/") || absl::StrContains(shard, "..") ||
        !absl::EndsWith(shard, ".safetensors")) {
      complaints.push_back(absl::StrCat("weight_map \"", name,
                                        "\" must name a .safetensors file beside the index; it is ",
                                        value.dump(-1, ' ', true, json::error_handler_t::replace)));
      continue;
    }
    auto found = shards.find(shard);
    if (found == shards.end()) {
      found = shards.emplace(shard, SafetensorsFile::Open(absl::StrCat(folder, "/", shard))).first;
      if (!found->second.ok()) complaints.emplace_back(found->second.status().message());
    }
    if (!found->second.ok()) continue;
    const auto tensor = found->second->tensors().find(name);
    if (const auto unusable = found->second->unusable().find(name); unusable != found->second->unusable().end()) {
      checkpoint.unusable.insert(*unusable);
    } else if (tensor == found->second->tensors().end()) {
      complaints.push_back(absl::StrCat("tensor \"", name, "\" is not in ", shard));
    } else {
      checkpoint.tensors[name] = tensor->second;
    }
  }
  FLOWAWR_RETURN_IF_ERROR(AllComplaints(index_path, complaints));
  return checkpoint;
}

}  // namespace

absl::StatusOr<CheckpointTensors> OpenCheckpoint(const std::string& folder, const std::string& stem) {
  for (const char* variant : {"", "bf16", "fp16"}) {
    const std::string suffix = *variant == '\0' ? "" : absl::StrCat(".", variant);
    const std::string file = absl::StrCat(folder, "/", stem, suffix, ".safetensors");
    const std::string index = absl::StrCat(folder, "/", stem, ".safetensors.index", suffix, ".json");
    const bool has_index = IsThere(index);
    if (has_index && !(stem == "model" && IsThere(file))) {
      FLOWAWR_ASSIGN_OR_RETURN(CheckpointTensors checkpoint, OpenShards(folder, index));
      checkpoint.variant = variant;
      return checkpoint;
    }
    if (!IsThere(file)) continue;
    FLOWAWR_ASSIGN_OR_RETURN(const SafetensorsFile opened, SafetensorsFile::Open(file));
    return CheckpointTensors{
        .file = file, .variant = variant, .tensors = opened.tensors(), .unusable = opened.unusable()};
  }
  return absl::NotFoundError(absl::StrCat(folder, "/", stem, ".safetensors is missing, and so are ", stem,
                                          ".safetensors.index.json and the variants bf16 and fp16",
                                          OtherWeights(folder)));
}

}  // namespace flowawr
