#include "common/base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/atomic_file.h"
#include "common/base/status.h"

namespace flowawr {
namespace {

constexpr absl::string_view kTemporary = ".tmp", kTemporaryLetters = "XXXXXX";  // mkostemp() chooses the letters

bool IsTemporary(absl::string_view name) {
  if (name.size() <= kTemporary.size() + kTemporaryLetters.size()) return false;
  const absl::string_view letters = name.substr(name.size() - kTemporaryLetters.size());
  return std::all_of(letters.begin(), letters.end(), absl::ascii_isalnum) &&
         absl::EndsWith(name.substr(0, name.size() - letters.size()), kTemporary);
}

}  // namespace

absl::Status ErrnoStatus(int error, absl::string_view action, absl::string_view path) {
  const std::string message = absl::StrCat(action, " ", path, ": ", std::generic_category().message(error));
  switch (error) {
    case ENOENT:
    case ENOTDIR:  // what should be a folder on the way is a file
      return absl::NotFoundError(message);
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return absl::ResourceExhaustedError(absl::StrCat(message, "; free some room and try again"));
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(message);
    case EISDIR:
    case ENAMETOOLONG:
    case ELOOP:
      return absl::InvalidArgumentError(message);
    case EMFILE:
    case ENFILE:
      return absl::ResourceExhaustedError(absl::StrCat(message, "; allow more open files (ulimit -n)"));
    default:
      return absl::InternalError(message);
  }
}

namespace {

absl::Status NoFile(absl::string_view path) {
  return absl::FailedPreconditionError(
      absl::StrCat(path, " is no ordinary file but a folder, a pipe or a device: name a file"));
}

// Some file systems, mostly of networks, cannot sync a folder, or anything: what they wrote is as safe as they make it.
bool CannotSync(int error) { return error == EINVAL || error == ENOTSUP || error == ENOSYS || error == EROFS; }

}  // namespace

absl::StatusOr<std::string> ReadFile(const std::string& path, size_t max_bytes) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe would wait for its writer
  if (fd < 0) return errno == ENXIO ? NoFile(path) : ErrnoStatus(errno, "opening", path);  // a socket
  absl::Cleanup close_fd = [fd] { close(fd); };
  struct stat found {};
  if (fstat(fd, &found) != 0) return ErrnoStatus(errno, "reading", path);
  if (!S_ISREG(found.st_mode)) return NoFile(path);
  std::string bytes;
  char buffer[1 << 16];
  while (true) {
    const ssize_t got = read(fd, buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoStatus(errno, "reading", path);
    if (got == 0) return bytes;
    if (bytes.size() + got > max_bytes)
      return absl::ResourceExhaustedError(absl::StrCat(path, " is larger than ", max_bytes, " bytes"));
    bytes.append(buffer, got);
  }
}

absl::Status FsyncDirectory(const std::string& folder) {
  const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, "opening", folder);
  absl::Cleanup close_fd = [fd] { close(fd); };
  if (fsync(fd) != 0 && !CannotSync(errno)) return ErrnoStatus(errno, "fsync of", folder);
  return absl::OkStatus();
}

absl::StatusOr<AtomicFile> AtomicFile::Create(std::string path) {
  std::string temporary = absl::StrCat(path, kTemporary, kTemporaryLetters);
  const int fd = mkostemp(temporary.data(), O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, "creating a temporary file for", path);
  fchmod(fd, 0644);
  return AtomicFile(std::move(path), std::move(temporary), fd);
}

AtomicFile::AtomicFile(std::string path, std::string temporary, int fd)
    : path_(std::move(path)), temporary_(std::move(temporary)), fd_(fd) {}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::exchange(other.temporary_, "")),
      fd_(std::exchange(other.fd_, -1)) {}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) close(fd_);
  if (!temporary_.empty()) unlink(temporary_.c_str());
}

absl::Status AtomicFile::Append(absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return ErrnoStatus(errno, "writing", path_);
    bytes.remove_prefix(written);
  }
  return absl::OkStatus();
}

absl::Status AtomicFile::Commit() {
  if (fsync(fd_) != 0 && !CannotSync(errno)) return ErrnoStatus(errno, "fsync of", path_);
  if (close(std::exchange(fd_, -1)) != 0) return ErrnoStatus(errno, "closing", path_);
  if (rename(temporary_.c_str(), path_.c_str()) != 0) return ErrnoStatus(errno, "renaming to", path_);
  temporary_.clear();
  const std::string folder = std::filesystem::path(path_).parent_path().string();
  return FsyncDirectory(folder.empty() ? "." : folder);
}

absl::Status WriteFileAtomically(const std::string& path, absl::string_view bytes) {
  FLOWAWR_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(path));
  FLOWAWR_RETURN_IF_ERROR(file.Append(bytes));
  return file.Commit();
}

absl::Status AppendWhole(int fd, const std::string& path, absl::string_view bytes) {
  const off_t before = lseek(fd, 0, SEEK_END);
  if (before < 0) return ErrnoStatus(errno, "seeking in", path);
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      const int error = errno;
      if (ftruncate(fd, before) == 0) lseek(fd, before, SEEK_SET);
      return ErrnoStatus(error, "writing", path);
    }
    bytes.remove_prefix(written);
  }
  return absl::OkStatus();
}

absl::Status RemoveTemporaryFiles(const std::string& folder) {
  std::error_code error;
  std::vector<std::filesystem::path> found;
  for (std::filesystem::recursive_directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error))
    if (entry->symlink_status().type() == std::filesystem::file_type::regular &&
        IsTemporary(entry->path().filename().string()))
      found.push_back(entry->path());
  if (error && error != std::errc::no_such_file_or_directory) return ErrnoStatus(error.value(), "reading", folder);
  for (const std::filesystem::path& file : found)
    if (!std::filesystem::remove(file, error) && error) return ErrnoStatus(error.value(), "removing", file.string());
  return absl::OkStatus();
}

absl::Status MakeDirectories(const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return ErrnoStatus(error.value(), "creating the folder", folder);
  return absl::OkStatus();
}

}  // namespace flowawr
