#include "common/rpc/endpoint_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/file.h"
#include "common/base/host_port.h"
#include "common/base/status.h"
#include "common/rpc/peer.h"

namespace flowawr {
namespace {

std::string ProcessFile(const std::string& path) { return path + ".process"; }

// The inode of the folder that holds `path`; "0" when it cannot be read.
std::string FolderNumber(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  struct stat found {};
  return stat(folder.empty() ? "." : folder.c_str(), &found) == 0 ? absl::StrCat(found.st_ino) : "0";
}

absl::StatusOr<std::vector<std::string>> ReadProcessFile(const std::string& path) {
  FLOWAWR_ASSIGN_OR_RETURN(std::string text, ReadFile(ProcessFile(path), 4096));
  absl::StripAsciiWhitespace(&text);
  std::vector<std::string> words = absl::StrSplit(text, ' ');
  if (words.size() != 3) return absl::NotFoundError(absl::StrCat(ProcessFile(path), " names no process"));
  return words;
}

}  // namespace

absl::Status WriteEndpointFile(const std::string& path, const std::string& endpoint, const std::string& instance) {
  // First: whoever sees the address finds the process, too.
  if (!instance.empty())
    FLOWAWR_RETURN_IF_ERROR(WriteFileAtomically(
        ProcessFile(path), absl::StrCat(instance, " ", endpoint, " ", FolderNumber(path), "\n")));
  return WriteFileAtomically(path, absl::StrCat(endpoint, "\n"));
}

absl::StatusOr<std::string> ReadEndpointFile(const std::string& path) {
  FLOWAWR_ASSIGN_OR_RETURN(std::string text, ReadFile(path, 4096));
  absl::StripAsciiWhitespace(&text);
  if (const auto address = ParseHostPort(text); !address.ok()) return Annotate(address.status(), path);
  return text;
}

absl::StatusOr<Endpoint> ReadEndpoint(const std::string& path) {
  FLOWAWR_ASSIGN_OR_RETURN(std::string address, ReadEndpointFile(path));
  FLOWAWR_ASSIGN_OR_RETURN(const std::vector<std::string> words, ReadProcessFile(path));
  if (words[1] != address || words[2] != FolderNumber(path))
    return absl::NotFoundError(absl::StrCat(path, " was left by a process of another folder or time"));
  return Endpoint{std::move(address), InstanceIdentity(words[0])};
}

absl::StatusOr<EndpointFile> EndpointFile::Write(std::string path, std::string endpoint, std::string instance) {
  if (!path.empty()) FLOWAWR_RETURN_IF_ERROR(WriteEndpointFile(path, endpoint, instance));
  return EndpointFile(std::move(path), std::move(instance));
}

EndpointFile::EndpointFile(EndpointFile&& other) noexcept
    : path_(std::exchange(other.path_, "")), instance_(std::move(other.instance_)) {}

EndpointFile::~EndpointFile() {
  if (path_.empty()) return;
  const auto words = ReadProcessFile(path_);
  if (!words.ok() || words->front() != instance_) return;
  unlink(path_.c_str());
  unlink(ProcessFile(path_).c_str());
}

}  // namespace flowawr
