#include "common/rpc/tls_watch.h"

#include <utility>
#include <vector>

#include "common/base/status.h"
#include "spdlog/spdlog.h"

namespace flowawr {
namespace {

std::vector<std::string> PathsOf(const v1::NetworkConfig& network, TlsUse use) {
  std::vector<std::string> paths;
  if (use.identity) paths = {network.tls_key(), network.tls_cert()};
  if (use.authorities) paths.push_back(network.tls_ca());
  return paths;
}

}  // namespace

TlsWatch::TlsWatch(const v1::NetworkConfig& network, TlsUse use)
    : network_(network), use_(use), stamps_(PathsOf(network, use)) {}

absl::StatusOr<std::shared_ptr<TlsWatch>> TlsWatch::Open(const v1::NetworkConfig& network, TlsUse use) {
  std::shared_ptr<TlsWatch> watch(new TlsWatch(network, use));
  absl::MutexLock lock(&watch->mutex_);
  watch->stamps_.Look();
  FLOWAWR_ASSIGN_OR_RETURN(TlsMaterial material, watch->ReadAll());
  watch->current_ = std::make_shared<const TlsMaterial>(std::move(material));
  return watch;
}

absl::StatusOr<TlsMaterial> TlsWatch::ReadAll() const {
  TlsMaterial material;
  if (use_.identity) {
    FLOWAWR_ASSIGN_OR_RETURN(material.identity, ReadTlsIdentity(network_));
  }
  if (use_.authorities) {
    FLOWAWR_ASSIGN_OR_RETURN(material.authorities, ReadTlsAuthorities(network_));
  }
  return material;
}

std::shared_ptr<const TlsMaterial> TlsWatch::Current() {
  absl::MutexLock lock(&mutex_);
  if (!stamps_.Look()) return current_;
  absl::StatusOr<TlsMaterial> read = ReadAll();
  if (!read.ok()) {
    if (last_problem_ != read.status().message())
      spdlog::warn("TLS files stay as they were: {}", std::string(read.status().message()));
    last_problem_ = std::string(read.status().message());
    return current_;
  }
  last_problem_.clear();
  const bool is_same = read->identity.key == current_->identity.key && read->identity.cert == current_->identity.cert &&
                       read->authorities == current_->authorities;
  if (is_same) return current_;
  spdlog::info("new TLS files{}{}", use_.identity ? ", certificate " + network_.tls_cert() : "",
               use_.authorities ? ", authorities " + network_.tls_ca() : "");
  return current_ = std::make_shared<const TlsMaterial>(*std::move(read));
}

}  // namespace flowawr
