#include "common/base/folder_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/status.h"

namespace flowawr {
namespace {

std::string LockFile(const std::string& folder) { return folder + "/lock"; }

absl::Status WhyNotLocked(const std::string& folder, int error) {
  const std::string system = std::generic_category().message(error);
  if (error != EWOULDBLOCK)
    return absl::FailedPreconditionError(
        absl::StrCat("the file system of ", folder, " cannot lock files (flock: ", system,
                     "), so nothing would keep two runs apart there: choose a --run-dir on a local disk, or have the "
                     "share mounted with locks"));
  std::string holder = ReadFile(LockFile(folder), 64).value_or("");
  absl::StripAsciiWhitespace(&holder);
  return absl::AbortedError(absl::StrCat("the run directory ", folder, " is in use by ",
                                         holder.empty() ? "another process" : absl::StrCat("process ", holder),
                                         "; stop that run first, or give this one another --run-dir"));
}

}  // namespace

absl::StatusOr<FolderLock> FolderLock::Take(const std::string& folder) {
  FLOWAWR_RETURN_IF_ERROR(MakeDirectories(folder));
  const std::string path = LockFile(folder);
  FolderLock lock(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0644));
  if (lock.descriptor_ < 0)
    return absl::PermissionDeniedError(absl::StrCat("opening ", path, ": ", std::generic_category().message(errno)));
  struct stat found {};
  if (fstat(lock.descriptor_, &found) != 0 || !S_ISREG(found.st_mode))
    return absl::FailedPreconditionError(absl::StrCat(path, " is no ordinary file: move it away"));
  while (flock(lock.descriptor_, LOCK_EX | LOCK_NB) != 0)
    if (errno != EINTR) return WhyNotLocked(folder, errno);
  const std::string pid = absl::StrCat(getpid(), "\n");
  if (ftruncate(lock.descriptor_, 0) != 0 || pwrite(lock.descriptor_, pid.data(), pid.size(), 0) < 0)
    return absl::ResourceExhaustedError(absl::StrCat("writing ", path, ": ", std::generic_category().message(errno)));
  return lock;
}

absl::StatusOr<FolderLock> FolderLock::Inherit(const std::string& folder, int descriptor) {
  struct stat inherited {}, there {};
  if (fstat(descriptor, &inherited) != 0 || stat(LockFile(folder).c_str(), &there) != 0 ||
      inherited.st_ino != there.st_ino || inherited.st_dev != there.st_dev)
    return absl::FailedPreconditionError(
        absl::StrCat("descriptor ", descriptor, " is not ", LockFile(folder), "; --lock-fd is for `flowawr run`"));
  fcntl(descriptor, F_SETFD, FD_CLOEXEC);
  return FolderLock(descriptor);
}

FolderLock::FolderLock(FolderLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

FolderLock& FolderLock::operator=(FolderLock&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

FolderLock::~FolderLock() {
  if (descriptor_ >= 0) close(descriptor_);
}

}  // namespace flowawr
