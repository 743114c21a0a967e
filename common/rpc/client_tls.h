// The TLS of a process's channels, with files that may be replaced while the channels live.
#pragma once

#include <memory>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "common/base/steady_cond_var.h"
#include "common/rpc/tls_watch.h"
#include "flowawr/v1/config.pb.h"
#include "grpcpp/security/credentials.h"

namespace flowawr {

// gRPC's own watcher of certificate files takes what it finds, be it half of a file or a certificate beside another
// one's key. So it is shown files in memory, which change only from one good state to the next: a thread of this class
// looks every second. What is established stays; new connections use what is new. Thread-safe.
class ClientTls {
 public:
  // For `network.tls_ca` and, with `network.mutual_tls`, tls_cert and tls_key. One for all channels of the process that
  // name the same files, as long as somebody holds it. Errors as of TlsWatch::Open().
  static absl::StatusOr<std::shared_ptr<ClientTls>> For(const v1::NetworkConfig& network);
  ~ClientTls();

  const std::shared_ptr<grpc::ChannelCredentials>& credentials() const { return credentials_; }

 private:
  // A file descriptor whose file is replaced at one stroke, read by others under its name in /proc/self/fd.
  class MemoryFile {
   public:
    explicit MemoryFile(std::string kind);
    ~MemoryFile();
    // Internal when the system has no such files.
    absl::Status Replace(const std::string& bytes);
    std::string path() const;

   private:
    const std::string kind_;  // what it holds
    const int fd_;
  };

  ClientTls(std::shared_ptr<TlsWatch> watch, bool has_identity);
  absl::Status Publish(const std::shared_ptr<const TlsMaterial>& material);
  void Follow();

  const std::shared_ptr<TlsWatch> watch_;
  const bool has_identity_;
  MemoryFile authorities_{"authorities"}, identity_{"identity"};
  std::shared_ptr<const TlsMaterial> published_;
  std::shared_ptr<grpc::ChannelCredentials> credentials_;
  SteadyNotification closing_;
  std::thread thread_;
};

}  // namespace flowawr
