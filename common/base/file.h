// Files read whole and written so that nobody ever sees half of one.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace flowawr {

// NotFound or Internal, naming the path. ResourceExhausted above `max_bytes`; FailedPrecondition for what is no file: a
// folder, or a pipe or device, which would have no end or never begin.
absl::StatusOr<std::string> ReadFile(const std::string& path, size_t max_bytes = size_t{1} << 30);

// Writes a temporary file beside `path`, fsyncs it and its folder, and renames it over `path`.
// ResourceExhausted when the disk is full; `path` is then as it was and the temporary file is gone.
absl::Status WriteFileAtomically(const std::string& path, absl::string_view bytes);

// Removes from `folder`, and from the folders in it, the temporary files that WriteFileAtomically() leaves when its
// process is killed. Nobody may be writing there. Fine when there is no such folder.
absl::Status RemoveTemporaryFiles(const std::string& folder);

// What a system call's `error` says of `path`; ResourceExhausted, with what to do, when there is no room.
absl::Status ErrnoStatus(int error, absl::string_view action, absl::string_view path);

// Appends all of `bytes` to the open file `path`, or nothing: after an error the file is as long as before.
// ResourceExhausted when the disk is full. Nobody else may be writing to it.
absl::Status AppendWhole(int fd, const std::string& path, absl::string_view bytes);

// Makes renames and new files in `folder` durable, as far as its file system can.
absl::Status FsyncDirectory(const std::string& folder);

// mkdir -p.
absl::Status MakeDirectories(const std::string& folder);

}  // namespace flowawr
