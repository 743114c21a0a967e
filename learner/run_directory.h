// The directory of one run: its lock, its history, its pictures, its exported adapter. Not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/folder_lock.h"
#include "absl/synchronization/mutex.h"
#include "common/nn/lora_adapter.h"
#include "common/nn/lora_files.h"
#include "common/tensor/image.h"

namespace flowawr {

// What metrics.jsonl says of an evaluation.
struct HeldoutReward {
  uint64_t update = 0;
  double reward = 0;
  uint64_t spec_version = 0;
};

class RunDirectory {
 public:
  // Makes the directory if need be, locks it as long as this object lives, and removes what a killed process had half
  // written among the checkpoints, pictures and exports. `inherited_lock`: the descriptor of the lock that the process
  // which started this one took; -1: none. Errors as of FolderLock.
  static absl::StatusOr<std::unique_ptr<RunDirectory>> Open(const std::string& path, int inherited_lock = -1);
  RunDirectory(const RunDirectory&) = delete;
  RunDirectory& operator=(const RunDirectory&) = delete;

  const std::string& path() const { return path_; }

  // Who this run is, from its very beginning: what RUN_DIR/run_id says. Empty when there is none.
  std::string ReadRunId() const;
  absl::Status WriteRunId(const std::string& run_id);

  // One JSON object as a line of metrics.jsonl, whole or not at all. Thread-safe.
  absl::Status AppendMetrics(const std::string& json);
  // Drops lines about updates above `update`, and a last line that a kill cut short: a resumed run writes them again.
  // Without `update`, for a run that starts anew, drops all.
  absl::Status TruncateMetrics(std::optional<uint64_t> update);
  // Of all evaluations that measured one, in order. What cannot be read is left out.
  std::vector<HeldoutReward> ReadHeldoutRewards() const;
  // images/<set>/<index>.png, with `text` as its metadata, and .json; `set` is base, latest, final or of
  // PictureHistoryFolder().
  absl::Status SavePicture(const std::string& set, int index, const Image& image, const std::string& json,
                           const std::map<std::string, std::string>& text);

  // Removes pictures of evaluations that a run does not keep (learner/picture_history.h). What cannot be removed stays.
  void ThinPictureHistory();
  // Drops those of evaluations after `update`, as TruncateMetrics() does lines.
  void DropPictureHistory(std::optional<uint64_t> update);

  // For peft a folder, for diffusers one file, in <path>/export/<name>; `name` empty: in <path>/export. InvalidArgument
  // for a name with a path in it, AlreadyExists for files that no export wrote.
  absl::StatusOr<ExportedLora> Export(const LoraAdapter& adapter, const std::string& base_model,
                                      const std::string& name, const AdapterNotes& notes = {});

 private:
  RunDirectory(std::string path, FolderLock lock) : path_(std::move(path)), lock_(std::move(lock)) {}
  std::set<uint64_t> UpdatesWithPictures() const;
  std::string MetricsPath() const { return path_ + "/metrics.jsonl"; }

  const std::string path_;
  const FolderLock lock_;
  absl::Mutex metrics_mutex_;  // lines do not interleave
};

}  // namespace flowawr
