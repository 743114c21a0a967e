#include "learner/run_directory.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "common/telemetry/metrics_line.h"
#include "learner/checkpoint.h"
#include "learner/picture_history.h"

namespace flowawr {
namespace {

namespace key = metrics_line;

constexpr size_t kMaxExportNameBytes = 64;

}  // namespace

absl::StatusOr<std::unique_ptr<RunDirectory>> RunDirectory::Open(const std::string& path, int inherited_lock) {
  FLOWAWR_ASSIGN_OR_RETURN(FolderLock lock, inherited_lock >= 0 ? FolderLock::Inherit(path, inherited_lock)
                                                                : FolderLock::Take(path));
  auto directory = std::unique_ptr<RunDirectory>(new RunDirectory(path, std::move(lock)));
  FLOWAWR_RETURN_IF_ERROR(TidyCheckpoints(path));
  // Not in the rest: other processes of this run write there, and may be at it.
  for (const char* folder : {"/checkpoints", "/images", "/export"})
    FLOWAWR_RETURN_IF_ERROR(RemoveTemporaryFiles(path + folder));
  return directory;
}

std::string RunDirectory::ReadRunId() const {
  std::string id = ReadFile(path_ + "/run_id", 1024).value_or("");
  absl::StripAsciiWhitespace(&id);
  return id;
}

absl::Status RunDirectory::WriteRunId(const std::string& run_id) {
  return WriteFileAtomically(path_ + "/run_id", run_id + "\n");
}

absl::Status RunDirectory::AppendMetrics(const std::string& json) {
  const std::string path = MetricsPath(), line = json + "\n";
  absl::MutexLock lock(&metrics_mutex_);
  const int fd = open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return ErrnoStatus(errno, "opening", path);
  absl::Cleanup close_fd = [fd] { close(fd); };
  return AppendWhole(fd, path, line);
}

absl::Status RunDirectory::TruncateMetrics(std::optional<uint64_t> update) {
  absl::MutexLock lock(&metrics_mutex_);
  const absl::StatusOr<std::string> text = ReadFile(MetricsPath());
  if (absl::IsNotFound(text.status())) return absl::OkStatus();
  FLOWAWR_RETURN_IF_ERROR(text.status());
  std::string kept;
  for (absl::string_view line : absl::StrSplit(*text, '\n', absl::SkipEmpty())) {
    const nlohmann::json parsed = nlohmann::json::parse(line, nullptr, false);
    if (!parsed.is_object() || !parsed.contains(key::kUpdate) || !parsed[key::kUpdate].is_number_unsigned()) continue;
    if (update && parsed[key::kUpdate].get<uint64_t>() <= *update) absl::StrAppend(&kept, line, "\n");
  }
  return WriteFileAtomically(MetricsPath(), kept);
}

std::vector<HeldoutReward> RunDirectory::ReadHeldoutRewards() const {
  std::vector<HeldoutReward> rewards;
  const std::string text = ReadFile(MetricsPath()).value_or("");
  for (absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    if (!absl::StrContains(line, absl::StrCat("\"", key::kKindEvaluation, "\""))) continue;
    const nlohmann::json parsed = nlohmann::json::parse(line, nullptr, false);
    const auto is_number = [&parsed](const char* field) { return parsed.contains(field) && parsed[field].is_number(); };
    if (!parsed.is_object() || !is_number(key::kUpdate) || !is_number(key::kRewardMean) || !is_number(key::kRewardSpec))
      continue;
    rewards.push_back({parsed[key::kUpdate].get<uint64_t>(), parsed[key::kRewardMean].get<double>(),
                       parsed[key::kRewardSpec].get<uint64_t>()});
  }
  return rewards;
}

absl::Status RunDirectory::SavePicture(const std::string& set, int index, const Image& image, const std::string& json,
                                       const std::map<std::string, std::string>& text) {
  const std::string folder = absl::StrCat(path_, "/images/", set);
  FLOWAWR_RETURN_IF_ERROR(MakeDirectories(folder));
  FLOWAWR_ASSIGN_OR_RETURN(const std::string png, EncodePng(image, text));
  const std::string stem = absl::StrFormat("%s/%03d", folder, index);
  FLOWAWR_RETURN_IF_ERROR(WriteFileAtomically(stem + ".png", png));
  return WriteFileAtomically(stem + ".json", json);
}

std::set<uint64_t> RunDirectory::UpdatesWithPictures() const {
  std::set<uint64_t> updates;
  std::error_code error;
  for (std::filesystem::directory_iterator it(path_ + "/images", error), end; !error && it != end; it.increment(error))
    if (const std::optional<uint64_t> update = UpdateOfPictureFolder(it->path().filename().string()))
      updates.insert(*update);
  return updates;
}

void RunDirectory::DropPictureHistory(std::optional<uint64_t> update) {
  std::error_code ignored;
  for (const uint64_t with_pictures : UpdatesWithPictures())
    if (!update || with_pictures > *update)
      std::filesystem::remove_all(absl::StrCat(path_, "/images/", PictureHistoryFolder(with_pictures)), ignored);
}

void RunDirectory::ThinPictureHistory() {
  std::set<uint64_t> updates = UpdatesWithPictures();
  std::error_code error;
  while (const std::optional<uint64_t> update = UpdateToForget(updates)) {
    std::filesystem::remove_all(absl::StrCat(path_, "/images/", PictureHistoryFolder(*update)), error);
    updates.erase(*update);
  }
}

absl::StatusOr<ExportedLora> RunDirectory::Export(const LoraAdapter& adapter, const std::string& base_model,
                                                  const std::string& name, const AdapterNotes& notes) {
  if (name.empty()) return ExportLora(adapter, base_model, path_ + "/export", notes);
  if (IsNameInExport(name))
    return absl::InvalidArgumentError(absl::StrCat("the run's own export has a file or folder named \"", name,
                                                   "\"; give another name"));
  const bool is_plain = name.size() <= kMaxExportNameBytes && name.front() != '.' &&
                        std::all_of(name.begin(), name.end(), [](char c) {
                          return absl::ascii_isalnum(c) || c == '.' || c == '-' || c == '_';
                        });
  if (!is_plain)
    return absl::InvalidArgumentError(absl::StrCat(
        "a learner exports into its run directory only: give a plain name, which becomes ", path_,
        "/export/NAME (letters, digits, dots, dashes; at most ", kMaxExportNameBytes, " bytes)"));
  return ExportLora(adapter, base_model, absl::StrCat(path_, "/export/", name), notes);
}

}  // namespace flowawr
