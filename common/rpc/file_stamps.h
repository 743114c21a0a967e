// Whether files were written anew since somebody looked, without reading them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"

namespace flowawr {

// Follows symbolic links, so that a link which leads elsewhere now counts as well: that is how Kubernetes replaces the
// files of a secret. Not thread-safe.
class FileStamps {
 public:
  explicit FileStamps(std::vector<std::string> paths) : paths_(std::move(paths)) {}

  // True at first, when a file is another one or was written since, and while the last writing is so recent that a
  // further one could bear the same date.
  bool Look();

 private:
  struct Stamp {
    uint64_t device = 0, inode = 0, size = 0;
    absl::Time written, changed;  // 1970: there is no such file
    bool operator==(const Stamp&) const = default;
  };
  static Stamp StampOf(const std::string& path);

  const std::vector<std::string> paths_;
  std::optional<std::vector<Stamp>> seen_;  // empty: look again
};

}  // namespace flowawr
