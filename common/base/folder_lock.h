// A folder that one process, and the processes it starts, have for themselves: an exclusive lock on its file `lock`.
// Not thread-safe.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace flowawr {

class FolderLock {
 public:
  // Makes the folder if need be. Aborted when another process has the lock, naming that process; FailedPrecondition
  // when the file system locks no files, or `lock` is no file.
  static absl::StatusOr<FolderLock> Take(const std::string& folder);

  // The lock that the process which started this one took: its descriptor. FailedPrecondition when it is not that.
  static absl::StatusOr<FolderLock> Inherit(const std::string& folder, int descriptor);

  ~FolderLock();
  FolderLock(FolderLock&& other) noexcept;
  FolderLock& operator=(FolderLock&& other) noexcept;

  // For a child to inherit. The folder stays locked until every process that has it has ended or let go.
  int descriptor() const { return descriptor_; }

 private:
  explicit FolderLock(int descriptor) : descriptor_(descriptor) {}

  int descriptor_;
};

}  // namespace flowawr
