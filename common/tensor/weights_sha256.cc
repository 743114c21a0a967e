#include "common/tensor/weights_sha256.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/sha256.h"
#include "common/base/status.h"
#include "common/tensor/checkpoint.h"
#include "common/tensor/strict_json.h"

namespace flowawr {
namespace {

absl::StatusOr<std::string> FileSha256(const std::string& path) {
  const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(path.c_str(), "rb"), std::fclose);
  if (file == nullptr) return ErrnoStatus(errno, "cannot read", path);
  Sha256Hasher hasher;
  std::vector<char> bytes(size_t{4} << 20);
  while (const size_t count = std::fread(bytes.data(), 1, bytes.size(), file.get()))
    hasher.Update({bytes.data(), count});
  if (std::ferror(file.get()) != 0) return ErrnoStatus(errno, "cannot read", path);
  return absl::BytesToHexString(hasher.Finish());
}

}  // namespace

absl::StatusOr<std::string> WeightsSha256(const std::string& folder, const std::string& stem) {
  FLOWAWR_ASSIGN_OR_RETURN(const CheckpointTensors checkpoint, OpenCheckpoint(folder, stem));
  if (absl::EndsWith(checkpoint.file, ".safetensors")) return FileSha256(checkpoint.file);
  // OpenCheckpoint() has checked the index.
  FLOWAWR_ASSIGN_OR_RETURN(const nlohmann::json index, ReadStrictJson(checkpoint.file));
  std::set<std::string> shards;
  for (const auto& [name, shard] : index["weight_map"].items()) shards.insert(shard.get<std::string>());
  std::string lines;
  for (const std::string& shard : shards) {
    FLOWAWR_ASSIGN_OR_RETURN(const std::string digest, FileSha256(absl::StrCat(folder, "/", shard)));
    absl::StrAppend(&lines, digest, "  ", shard, "\n");
  }
  return HexSha256(lines);
}

}  // namespace flowawr
