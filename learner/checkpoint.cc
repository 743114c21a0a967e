#include "learner/checkpoint.h"

#include <google/protobuf/util/json_util.h>
#include <torch/types.h>

#include <filesystem>
#include <map>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "common/base/checkpoint_names.h"
#include "common/base/file.h"
#include "common/base/sha256_sums.h"
#include "common/base/status.h"
#include "common/tensor/safetensors.h"
#include "learner/clean_text.h"

namespace flowawr {
namespace {

namespace fs = std::filesystem;
constexpr uint32_t kFormat = 2;
constexpr char kManifest[] = "checkpoint.json";
constexpr size_t kMostBytes = size_t{1} << 36;
constexpr size_t kMostNoteBytes = size_t{16} << 20;
constexpr char kTemporary[] = ".tmp";
constexpr char kOld[] = ".old";

std::string Folder(const std::string& run_dir) { return run_dir + "/checkpoints"; }

absl::StatusOr<std::map<std::string, std::string>> SerializeFiles(const PolicyRoles& roles) {
  std::map<std::string, std::string> files;
  FLOWAWR_ASSIGN_OR_RETURN(files["current.safetensors"], roles.current.SerializePeft());
  FLOWAWR_ASSIGN_OR_RETURN(files["behaviour.safetensors"], roles.behaviour.SerializePeft());
  FLOWAWR_ASSIGN_OR_RETURN(files["average.safetensors"], roles.average.SerializePeft());
  FLOWAWR_ASSIGN_OR_RETURN(files["optimizer.safetensors"],
                           SerializeSafetensors({{"first_moment", roles.optimizer.first_moment},
                                                 {"second_moment", roles.optimizer.second_moment}}));
  return files;
}

absl::StatusOr<std::string> SerializeManifest(const v1::CheckpointManifest& manifest) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.preserve_proto_field_names = true;
  std::string json;
  if (!google::protobuf::util::MessageToJsonString(CleanText(manifest), &json, options).ok())
    return absl::InternalError("the checkpoint's manifest has no JSON form");
  return json;
}

// Checks every file of the folder first.
absl::StatusOr<v1::CheckpointManifest> ReadManifest(const std::string& folder) {
  FLOWAWR_RETURN_IF_ERROR(CheckSha256Sums(folder, {"average.safetensors", "behaviour.safetensors", kManifest,
                                                   "current.safetensors", "optimizer.safetensors"}));
  FLOWAWR_ASSIGN_OR_RETURN(const std::string json, ReadFile(absl::StrCat(folder, "/", kManifest), kMostBytes));
  v1::CheckpointManifest manifest;
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;  // so that the manifest of another format is told as that
  if (!google::protobuf::util::JsonStringToMessage(json, &manifest, options).ok())
    return absl::DataLossError(absl::StrCat(folder, "/", kManifest, " is no checkpoint manifest"));
  const std::string name = std::filesystem::path(folder).filename().string();
  if (manifest.format() == kFormat && name != CheckpointName(manifest.update()))
    return absl::DataLossError(absl::StrCat(folder, " was renamed: it is the checkpoint of update ", manifest.update(),
                                            ", so call it ", CheckpointName(manifest.update()), " again"));
  if (manifest.format() != kFormat)
    return absl::DataLossError(absl::StrCat(folder, "/", kManifest, " has format ", manifest.format(),
                                            "; this program reads format ", kFormat));
  return manifest;
}

absl::StatusOr<LoraAdapter> ReadAdapter(const std::string& path, const std::shared_ptr<const LoraLayout>& layout) {
  FLOWAWR_ASSIGN_OR_RETURN(std::string bytes, ReadFile(path, kMostBytes));
  return LoraAdapter::ParsePeft(std::move(bytes), layout, path);
}

absl::Status RemoveOlder(const std::string& parent, const std::map<uint64_t, double>& heldout,
                         const Retention& retention) {
  FLOWAWR_ASSIGN_OR_RETURN(const std::vector<std::string> names, CheckpointNames(parent));
  std::map<uint64_t, std::string> by_update;
  std::vector<uint64_t> updates;
  for (const std::string& name : names) {
    uint64_t update = 0;
    if (!absl::SimpleAtoi(absl::StripPrefix(name, kCheckpointPrefix), &update)) continue;
    by_update[update] = name;
    updates.push_back(update);
  }
  std::error_code ignored;
  for (const uint64_t update : CheckpointsToRemove(updates, heldout, retention))
    fs::remove_all(absl::StrCat(parent, "/", by_update[update]), ignored);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> SaveCheckpoint(const std::string& run_dir, v1::CheckpointManifest manifest,
                                           const PolicyRoles& roles, const Retention& retention,
                                           const CheckpointExtras& extras) {
  const std::string parent = Folder(run_dir);
  FLOWAWR_RETURN_IF_ERROR(MakeDirectories(parent));
  const std::string name = CheckpointName(manifest.update());
  const std::string target = absl::StrCat(parent, "/", name), temporary = target + kTemporary, old = target + kOld;
  std::error_code ignored;
  fs::remove_all(temporary, ignored);
  FLOWAWR_RETURN_IF_ERROR(MakeDirectories(temporary));
  absl::Cleanup remove_temporary = [&] { fs::remove_all(temporary, ignored); };

  manifest.set_format(kFormat);
  manifest.set_average_steps(roles.average_steps);
  manifest.set_optimizer_steps(roles.optimizer.steps);
  FLOWAWR_ASSIGN_OR_RETURN(auto files, SerializeFiles(roles));
  FLOWAWR_ASSIGN_OR_RETURN(files[kManifest], SerializeManifest(manifest));
  files.insert(extras.notes.begin(), extras.notes.end());
  files[kSha256SumsFile] = FormatSha256Sums(files);
  for (const auto& [file, bytes] : files)
    FLOWAWR_RETURN_IF_ERROR(WriteFileAtomically(absl::StrCat(temporary, "/", file), bytes));

  std::error_code error;
  if (fs::exists(target)) {
    fs::remove_all(old, ignored);
    fs::rename(target, old, error);  // after a kill right here TidyCheckpoints() puts it back
  }
  if (!error) fs::rename(temporary, target, error);
  if (error) return absl::InternalError(absl::StrCat("renaming ", temporary, ": ", error.message()));
  fs::remove_all(old, ignored);
  FLOWAWR_RETURN_IF_ERROR(FsyncDirectory(parent));
  FLOWAWR_RETURN_IF_ERROR(WriteFileAtomically(parent + "/latest", name + "\n"));
  FLOWAWR_RETURN_IF_ERROR(RemoveOlder(parent, extras.heldout, retention));
  return target;
}

absl::Status TidyCheckpoints(const std::string& run_dir) {
  const std::string parent = Folder(run_dir);
  std::error_code error;
  FLOWAWR_ASSIGN_OR_RETURN(const std::vector<std::string> names, NamesIn(parent));
  for (const std::string& name : names) {
    const std::string path = absl::StrCat(parent, "/", name);
    const bool is_old = absl::EndsWith(name, kOld);
    const std::string target(absl::StripSuffix(path, is_old ? kOld : kTemporary));
    if (target == path || !IsCheckpointName(absl::StripPrefix(target, parent + "/"))) continue;
    if (is_old && !fs::exists(target, error))
      fs::rename(path, target, error);
    else
      fs::remove_all(path, error);
    if (error) return absl::InternalError(absl::StrCat("tidying ", path, ": ", error.message()));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<FoundCheckpoint>> FindCheckpoint(const std::string& run_dir) {
  absl::Status broken;
  std::vector<std::string> broken_folders;
  FLOWAWR_ASSIGN_OR_RETURN(const std::vector<std::string> names, CheckpointNames(Folder(run_dir)));
  for (const std::string& name : names) {
    const std::string folder = absl::StrCat(Folder(run_dir), "/", name);
    absl::StatusOr<v1::CheckpointManifest> manifest = ReadManifest(folder);
    if (manifest.ok() && broken.ok()) return FoundCheckpoint{folder, *std::move(manifest)};
    if (manifest.ok())
      return absl::DataLossError(absl::StrCat("the newest checkpoint is broken: ", broken.message(), ". ", folder,
                                              " is whole: to go on from update ", manifest->update(), ", move ",
                                              absl::StrJoin(broken_folders, " and "), " away and resume again. If the run ",
                                              "made copies (checkpoint.copy_to), they may have a whole one of it"));
    broken.Update(manifest.status());
    broken_folders.push_back(folder);
  }
  if (broken.ok()) return std::nullopt;
  return absl::DataLossError(absl::StrCat("the newest checkpoint is broken: ", broken.message(), ". No other in ",
                                          Folder(run_dir), " is whole: go on from the copies, if the run made any ",
                                          "(flowawr run COPIES --resume, of checkpoint.copy_to), or start again with ",
                                          "another --run-dir"));
}

std::string ReadNote(const FoundCheckpoint& checkpoint, const std::string& name) {
  return ReadFile(absl::StrCat(checkpoint.folder, "/", name), kMostNoteBytes).value_or("");
}

absl::StatusOr<PolicyRoles> LoadCheckpoint(const FoundCheckpoint& checkpoint,
                                           std::shared_ptr<const LoraLayout> layout) {
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
