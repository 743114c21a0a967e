#include "common/rpc/client_tls.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <map>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/mutex.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "grpcpp/security/tls_certificate_provider.h"
#include "grpcpp/security/tls_credentials_options.h"
#include "spdlog/spdlog.h"

namespace flowawr {
namespace {

constexpr absl::Duration kLookEvery = absl::Seconds(1);
constexpr unsigned kGrpcLooksEverySeconds = 1;

// The key alone of a PEM file that may hold certificates as well.
std::string KeyBlockOf(const std::string& pem) {
  constexpr char kBegin[] = "-----BEGIN ", kKey[] = "PRIVATE KEY-----";
  for (size_t begin = pem.find(kBegin); begin != std::string::npos; begin = pem.find(kBegin, begin + 1)) {
    const size_t line = pem.find('\n', begin);
    if (line == std::string::npos || !absl::StrContains(pem.substr(begin, line - begin), kKey)) continue;
    const size_t end = pem.find("-----END ", line);
    const size_t last = end == std::string::npos ? end : pem.find('\n', end);
    return pem.substr(begin, last == std::string::npos ? last : last - begin);
  }
  return pem;
}

// Descriptors that nobody uses now, by what their files hold. They stay open, with what they held: gRPC may go on looking
// under their numbers for a while after the last channel, must find no file of somebody else there, and ends the process
// where it finds a certificate without its key. So one is used again for the same kind only.
struct SpareFiles {
  absl::Mutex mutex;
  std::map<std::string, std::vector<int>> descriptors ABSL_GUARDED_BY(mutex);
};
SpareFiles& Spare() {
  static SpareFiles& spare = *new SpareFiles;
  return spare;
}

int TakeDescriptor(const std::string& kind) {
  absl::MutexLock lock(&Spare().mutex);
  std::vector<int>& spare = Spare().descriptors[kind];
  if (spare.empty()) return memfd_create("flowawr-tls", MFD_CLOEXEC);
  const int descriptor = spare.back();
  spare.pop_back();
  return descriptor;
}

}  // namespace

ClientTls::MemoryFile::MemoryFile(std::string kind) : kind_(std::move(kind)), fd_(TakeDescriptor(kind_)) {}

ClientTls::MemoryFile::~MemoryFile() {
  if (fd_ < 0) return;
  absl::MutexLock lock(&Spare().mutex);
  Spare().descriptors[kind_].push_back(fd_);
}

absl::Status ClientTls::MemoryFile::Replace(const std::string& bytes) {
  const int next = memfd_create("flowawr-tls", MFD_CLOEXEC);
  if (fd_ < 0 || next < 0) return absl::InternalError("memfd_create: no files in memory to be had");
  absl::Status status = AppendWhole(next, "a file in memory", bytes);
  // gRPC reads key and certificate one after the other, and reads again when the file's date in seconds has changed
  // meanwhile: every version has a date of its own.
  static std::atomic<int> versions = 0;
  const timespec date = {.tv_sec = ++versions, .tv_nsec = 0}, dates[] = {date, date};
  if (status.ok() && futimens(next, dates) != 0) status = ErrnoStatus(errno, "dating", "a file in memory");
  if (status.ok() && dup3(next, fd_, O_CLOEXEC) < 0) status = ErrnoStatus(errno, "replacing", "a file in memory");
  close(next);
  return status;
}

std::string ClientTls::MemoryFile::path() const { return absl::StrCat("/proc/self/fd/", fd_); }

absl::StatusOr<std::shared_ptr<ClientTls>> ClientTls::For(const v1::NetworkConfig& network) {
  struct Shared {
    absl::Mutex mutex;
    std::map<std::string, std::weak_ptr<ClientTls>> known ABSL_GUARDED_BY(mutex);
  };
  static Shared& shared = *new Shared;
  const bool has_identity = network.mutual_tls();
  if (has_identity && network.tls_cert().empty())
    return absl::InvalidArgumentError(
        "network.mutual_tls: this client needs a certificate of its own to show; set network.tls_cert and "
        "network.tls_key");
  const std::string name = absl::StrJoin(
      {network.tls_ca(), has_identity ? network.tls_cert() : "", has_identity ? network.tls_key() : ""}, "\n");
  absl::MutexLock lock(&shared.mutex);
  std::weak_ptr<ClientTls>& entry = shared.known[name];
  if (auto existing = entry.lock()) return existing;
  FLOWAWR_ASSIGN_OR_RETURN(std::shared_ptr<TlsWatch> watch,
                           TlsWatch::Open(network, {.identity = has_identity, .authorities = true}));
  std::shared_ptr<ClientTls> made(new ClientTls(std::move(watch), has_identity));
  FLOWAWR_RETURN_IF_ERROR(made->Publish(made->watch_->Current()));
  const std::string identity = has_identity ? made->identity_.path() : "";
  grpc::experimental::TlsChannelCredentialsOptions options;
  options.set_certificate_provider(std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(
      identity, identity, made->authorities_.path(), kGrpcLooksEverySeconds));
  options.watch_root_certs();
  if (has_identity) options.watch_identity_key_cert_pairs();
  made->credentials_ = grpc::experimental::TlsCredentials(options);
  made->thread_ = std::thread([tls = made.get()] { tls->Follow(); });
  entry = made;
  return made;
}

ClientTls::ClientTls(std::shared_ptr<TlsWatch> watch, bool has_identity)
    : watch_(std::move(watch)), has_identity_(has_identity) {}

ClientTls::~ClientTls() {
  credentials_.reset();
  closing_.Notify();
  if (thread_.joinable()) thread_.join();
}

absl::Status ClientTls::Publish(const std::shared_ptr<const TlsMaterial>& material) {
  if (material == published_) return absl::OkStatus();
  if (published_ == nullptr || material->authorities != published_->authorities)
    FLOWAWR_RETURN_IF_ERROR(authorities_.Replace(material->authorities));
  // Key and certificates in one file: they are replaced together.
  if (has_identity_)
    FLOWAWR_RETURN_IF_ERROR(identity_.Replace(absl::StrCat(KeyBlockOf(material->identity.key), "\n", material->identity.cert)));
  published_ = material;
  return absl::OkStatus();
}

void ClientTls::Follow() {
  while (!closing_.WaitForNotificationWithTimeout(kLookEvery)) {
    if (const absl::Status status = Publish(watch_->Current()); !status.ok())
      spdlog::warn("new TLS files are not used: {}", std::string(status.message()));
  }
}

}  // namespace flowawr
