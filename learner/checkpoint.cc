#include "learner/checkpoint.h"

#include <google/protobuf/util/json_util.h>
#include <torch/types.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <tuple>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "common/base/file.h"
#include "common/base/sha256.h"
#include "common/base/status.h"
#include "common/tensor/safetensors.h"

namespace flowawr {
namespace {

namespace fs = std::filesystem;
constexpr char kManifest[] = "checkpoint.json";
constexpr char kPrefix[] = "update-";
constexpr char kTemporary[] = ".tmp";
constexpr char kOld[] = ".old";

std::string Folder(const std::string& run_dir) { return run_dir + "/checkpoints"; }

absl::StatusOr<std::map<std::string, std::string>> SerializeFiles(const PolicyRoles& roles) {
  std::map<std::string, std::string> files;
  FLOWAWR_ASSIGN_OR_RETURN(files["current.safetensors"], roles.current.SerializePeft());
  FLOWAWR_ASSIGN_OR_RETURN(files["behaviour.safetensors"], roles.behaviour.SerializePeft());
  FLOWAWR_ASSIGN_OR_RETURN(files["average.safetensors"], roles.average.SerializePeft());
  FLOWAWR_ASSIGN_OR_RETURN(
      files["optimizer.safetensors"],
      SerializeSafetensors({{"first_moment", roles.optimizer.first_moment},
                            {"second_moment", roles.optimizer.second_moment}}));
  return files;
}

// Checkpoint folders, newest first. A folder that a save of the same update moved aside comes after the one in its
// place: a kill between the two renames leaves only the former.
std::vector<std::string> Folders(const std::string& run_dir) {
  std::vector<std::string> names;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(Folder(run_dir), error)) {
    std::string name = entry.path().filename().string();
    if (absl::StartsWith(name, kPrefix) && !absl::EndsWith(name, kTemporary)) names.push_back(std::move(name));
  }
  std::sort(names.begin(), names.end(), [](absl::string_view a, absl::string_view b) {
    const bool is_a_whole = !absl::ConsumeSuffix(&a, kOld), is_b_whole = !absl::ConsumeSuffix(&b, kOld);
    return std::make_tuple(a.size(), a, is_a_whole) > std::make_tuple(b.size(), b, is_b_whole);
  });
  return names;
}

absl::StatusOr<v1::CheckpointManifest> ReadManifest(const std::string& folder) {
  FLOWAWR_ASSIGN_OR_RETURN(const std::string json, ReadFile(absl::StrCat(folder, "/", kManifest), 16 << 20));
  v1::CheckpointManifest manifest;
  if (!google::protobuf::util::JsonStringToMessage(json, &manifest).ok())
    return absl::DataLossError(absl::StrCat(folder, "/", kManifest, " is no checkpoint manifest"));
  if (manifest.format() != 1)
    return absl::DataLossError(absl::StrCat(folder, " has format ", manifest.format(), "; this program reads format 1"));
  if (manifest.sha256().empty()) return absl::DataLossError(absl::StrCat(folder, " lists no files"));
  for (const auto& [file, digest] : manifest.sha256()) {
    FLOWAWR_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(absl::StrCat(folder, "/", file), size_t{1} << 36));
    if (absl::BytesToHexString(Sha256(bytes)) != digest)
      return absl::DataLossError(absl::StrCat(folder, "/", file, " has another digest than the manifest says"));
  }
  return manifest;
}

absl::StatusOr<LoraAdapter> ReadAdapter(const std::string& path, const std::shared_ptr<const LoraLayout>& layout) {
  FLOWAWR_ASSIGN_OR_RETURN(std::string bytes, ReadFile(path, size_t{1} << 36));
  return LoraAdapter::ParsePeft(std::move(bytes), layout, path);
}

}  // namespace

absl::StatusOr<std::string> SaveCheckpoint(const std::string& run_dir, v1::CheckpointManifest manifest,
                                           const PolicyRoles& roles, int keep) {
  const std::string parent = Folder(run_dir);
  FLOWAWR_RETURN_IF_ERROR(MakeDirectories(parent));
  const std::string name = absl::StrFormat("%s%06d", kPrefix, manifest.update());
  const std::string target = absl::StrCat(parent, "/", name), temporary = target + kTemporary, old = target + kOld;
  std::error_code ignored;
  fs::remove_all(temporary, ignored);
  FLOWAWR_RETURN_IF_ERROR(MakeDirectories(temporary));
  absl::Cleanup remove_temporary = [&] { fs::remove_all(temporary, ignored); };

  FLOWAWR_ASSIGN_OR_RETURN(const auto files, SerializeFiles(roles));
  manifest.set_format(1);
  manifest.set_average_steps(roles.average_steps);
  manifest.set_optimizer_steps(roles.optimizer.steps);
  manifest.clear_sha256();
  for (const auto& [file, bytes] : files) {
    FLOWAWR_RETURN_IF_ERROR(WriteFileAtomically(absl::StrCat(temporary, "/", file), bytes));
    (*manifest.mutable_sha256())[file] = absl::BytesToHexString(Sha256(bytes));
  }
  google::protobuf::util::JsonPrintOptions json_options;
  json_options.add_whitespace = true;
  json_options.preserve_proto_field_names = true;
  std::string json;
  if (!google::protobuf::util::MessageToJsonString(manifest, &json, json_options).ok())
    return absl::InternalError("the checkpoint's manifest has no JSON form");
  FLOWAWR_RETURN_IF_ERROR(WriteFileAtomically(absl::StrCat(temporary, "/", kManifest), json));

  std::error_code error;
  if (fs::exists(target)) {
    fs::remove_all(old, ignored);
    fs::rename(target, old, error);  // a kill right here leaves `old`, which loading believes, and `temporary`
  }
  if (!error) fs::rename(temporary, target, error);
  if (error) return absl::InternalError(absl::StrCat("renaming ", temporary, ": ", error.message()));
  fs::remove_all(old, ignored);
  FLOWAWR_RETURN_IF_ERROR(FsyncDirectory(parent));
  FLOWAWR_RETURN_IF_ERROR(WriteFileAtomically(parent + "/latest", name + "\n"));
  const std::vector<std::string> all = Folders(run_dir);
  // Newer ones were passed over as broken when this run resumed: they neither count nor go.
  const size_t own = std::find(all.begin(), all.end(), name) - all.begin();
  for (size_t i = own + std::max(keep, 1); i < all.size(); ++i)
    fs::remove_all(absl::StrCat(parent, "/", all[i]), ignored);
  return target;
}

absl::StatusOr<std::optional<FoundCheckpoint>> FindCheckpoint(const std::string& run_dir,
                                                              std::vector<std::string>* warnings) {
  const std::vector<std::string> names = Folders(run_dir);
  for (const std::string& name : names) {
    const std::string folder = absl::StrCat(Folder(run_dir), "/", name);
    absl::StatusOr<v1::CheckpointManifest> manifest = ReadManifest(folder);
    if (manifest.ok()) return FoundCheckpoint{folder, *std::move(manifest)};
    warnings->push_back(absl::StrCat("checkpoint passed over: ", manifest.status().message()));
  }
  if (names.empty()) return std::nullopt;
  return absl::DataLossError(absl::StrCat("every checkpoint in ", Folder(run_dir), " is broken; the newest: ",
                                          warnings->front()));
}

absl::StatusOr<PolicyRoles> LoadCheckpoint(const FoundCheckpoint& checkpoint, std::shared_ptr<const LoraLayout> layout) {
  const std::string& folder = checkpoint.folder;
  FLOWAWR_ASSIGN_OR_RETURN(LoraAdapter current, ReadAdapter(folder + "/current.safetensors", layout));
  FLOWAWR_ASSIGN_OR_RETURN(LoraAdapter behaviour, ReadAdapter(folder + "/behaviour.safetensors", layout));
  FLOWAWR_ASSIGN_OR_RETURN(LoraAdapter average, ReadAdapter(folder + "/average.safetensors", layout));
  FLOWAWR_ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::Open(folder + "/optimizer.safetensors"));
  AdamWState optimizer = AdamWState::Zero(layout->size());
  FLOWAWR_ASSIGN_OR_RETURN(const at::Tensor first, file.Get("first_moment", at::kFloat, {layout->size()}));
  FLOWAWR_ASSIGN_OR_RETURN(const at::Tensor second, file.Get("second_moment", at::kFloat, {layout->size()}));
  optimizer.first_moment.copy_(first);
  optimizer.second_moment.copy_(second);
  optimizer.steps = checkpoint.manifest.optimizer_steps();
  return PolicyRoles{std::move(current), std::move(behaviour), std::move(average), std::move(optimizer),
                     checkpoint.manifest.average_steps()};
}

}  // namespace flowawr
