// A file that appears whole or not at all, written piece by piece.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace flowawr {

// Not thread-safe. A temporary file beside `path` until Commit(); RemoveTemporaryFiles() knows it.
class AtomicFile {
 public:
  static absl::StatusOr<AtomicFile> Create(std::string path);
  // Removes the temporary file unless it was committed.
  ~AtomicFile();
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;

  // ResourceExhausted when the disk is full.
  absl::Status Append(absl::string_view bytes);

  // Syncs the file, renames it over `path`, and syncs the folder. Nothing may be appended after.
  absl::Status Commit();

 private:
  AtomicFile(std::string path, std::string temporary, int fd);

  std::string path_, temporary_;
  int fd_ = -1;
};

}  // namespace flowawr
