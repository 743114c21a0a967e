#include "common/rpc/file_stamps.h"

#include <sys/stat.h>

#include <algorithm>

#include "absl/time/clock.h"

namespace flowawr {
namespace {

// File systems date in steps of up to two seconds.
constexpr absl::Duration kDateStep = absl::Seconds(2);

}  // namespace

FileStamps::Stamp FileStamps::StampOf(const std::string& path) {
  struct stat file {};
  Stamp stamp{.written = absl::UnixEpoch(), .changed = absl::UnixEpoch()};
  if (stat(path.c_str(), &file) != 0) return stamp;
  stamp.device = file.st_dev;
  stamp.inode = file.st_ino;
  stamp.size = file.st_size;
  stamp.written = absl::TimeFromTimespec(file.st_mtim);
  stamp.changed = absl::TimeFromTimespec(file.st_ctim);
  return stamp;
}

bool FileStamps::Look() {
  const absl::Time now = absl::Now();
  std::vector<Stamp> stamps;
  for (const std::string& path : paths_) stamps.push_back(StampOf(path));
  if (seen_ == stamps) return false;
  const bool is_settled = std::all_of(stamps.begin(), stamps.end(), [&](const Stamp& stamp) {
    return std::max(stamp.written, stamp.changed) < now - kDateStep;
  });
  if (is_settled) {
    seen_ = std::move(stamps);
  } else {
    seen_.reset();
  }
  return true;
}

}  // namespace flowawr
