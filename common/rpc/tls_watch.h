// The TLS files of a process, kept true while they change.
#pragma once

#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/rpc/file_stamps.h"
#include "common/rpc/tls_files.h"
#include "flowawr/v1/config.pb.h"

namespace flowawr {

// Which of the files a process needs.
struct TlsUse {
  bool identity = false;     // tls_cert and tls_key
  bool authorities = false;  // tls_ca
};

struct TlsMaterial {
  TlsIdentity identity;     // empty where it is not used
  std::string authorities;  // likewise
};

// What is half written, does not fit together or has expired is not taken: the old stays, and a warning is logged.
// Thread-safe.
class TlsWatch {
 public:
  // Errors as of ReadTlsIdentity() and ReadTlsAuthorities().
  static absl::StatusOr<std::shared_ptr<TlsWatch>> Open(const v1::NetworkConfig& network, TlsUse use);

  // The newest that is good. Another pointer means another content.
  std::shared_ptr<const TlsMaterial> Current();

 private:
  TlsWatch(const v1::NetworkConfig& network, TlsUse use);
  absl::StatusOr<TlsMaterial> ReadAll() const;

  const v1::NetworkConfig network_;
  const TlsUse use_;
  absl::Mutex mutex_;
  FileStamps stamps_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<const TlsMaterial> current_ ABSL_GUARDED_BY(mutex_);
  std::string last_problem_ ABSL_GUARDED_BY(mutex_);  // told already
};

}  // namespace flowawr
