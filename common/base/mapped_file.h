// A file whose bytes are read through memory, and what happens when they are gone.
//
// The kernel answers a read behind the new end of a file that was cut short, or one that its disk cannot serve, with
// SIGBUS. The first Open() installs a handler for it: if the address lies in a mapping of this class, the process says
// which file it was, on stderr, and ends with exit code 65 (a file is damaged) without running anything else. Every
// other SIGBUS goes to whoever was responsible before. A file that is replaced by rename, or removed, stays whole for
// those who have it mapped.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace flowawr {

// Thread-safe as far as its bytes are only read.
class MappedFile {
 public:
  // NotFound, InvalidArgument for what is not a regular file, or FailedPrecondition with the system's reason.
  static absl::StatusOr<std::unique_ptr<const MappedFile>> Open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  // Private to this process: what is written there never reaches the file. Null for an empty file.
  char* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  MappedFile(char* data, size_t size, const std::string& path);

  char* data_;
  size_t size_;
  struct Record* record_;  // what the handler finds
};

}  // namespace flowawr
