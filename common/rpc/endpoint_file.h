// How a process that listens on any free port tells where: a file with one line, host:port, for people and scripts;
// and beside it FILE.process, by which our own commands prove that they reach that very process.
//
// FILE.process has one line, "INSTANCE ADDRESS FOLDER": the process's own random name, the address again, and the
// number of the folder (its inode) that the two were written into. A copy of a run's folder has another number, a moved
// one the same.
#pragma once

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace flowawr {

struct Endpoint {
  std::string address;
  std::string identity;  // of the process that wrote the file, for MeantFor(); empty: not told
};

// Appears whole or not at all. Without `instance`, FILE.process is left out.
absl::Status WriteEndpointFile(const std::string& path, const std::string& endpoint, const std::string& instance = "");

// The address. NotFound while the file is not there; InvalidArgument when it holds no address.
absl::StatusOr<std::string> ReadEndpointFile(const std::string& path);

// The address and who is meant. Errors as above; NotFound, too, when FILE.process is missing, tells another address or
// was written into another folder.
absl::StatusOr<Endpoint> ReadEndpoint(const std::string& path);

// The two files of a process that serves, as long as it does: removed at the end, unless another process has written
// its own there meanwhile. An empty path writes nothing.
class EndpointFile {
 public:
  static absl::StatusOr<EndpointFile> Write(std::string path, std::string endpoint, std::string instance);
  ~EndpointFile();
  EndpointFile(EndpointFile&& other) noexcept;
  EndpointFile& operator=(EndpointFile&&) = delete;

 private:
  EndpointFile(std::string path, std::string instance) : path_(std::move(path)), instance_(std::move(instance)) {}

  std::string path_, instance_;
};

}  // namespace flowawr
