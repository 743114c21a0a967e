// Whose token is it: what a server knows, kept true while the files change.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/rpc/access.h"
#include "common/rpc/file_stamps.h"
#include "flowawr/v1/config.pb.h"

namespace flowawr {

// A token that was taken out of its file is still known for kGrace, for calls that are under way and machines that get
// the new file later; those who must be locked out at once need a restart of the server. When a file cannot be read or
// holds no token any more, nothing changes, and a warning is logged. Holds digests only. Thread-safe.
class TokenBook {
 public:
  static constexpr absl::Duration kGrace = absl::Minutes(1);

  // The files that `network` names. Errors as of ReadTokens(); InvalidArgument when two roles have the same token.
  // `clock` must outlive the book.
  static absl::StatusOr<std::shared_ptr<TokenBook>> Open(const v1::NetworkConfig& network,
                                                         const Clock& clock = Clock::Real());

  // There is no token file: everybody may call.
  bool is_open() const { return files_.empty(); }

  // Whose `token` is; nullopt: nobody's. Compares in constant time. Looks at the files when the token is not known, and
  // once a second.
  std::optional<Role> RoleOf(absl::string_view token);

 private:
  struct File {
    Role role;
    std::string path;
  };
  struct Entry {
    Role role;
    std::string digest;
    absl::Time until;  // infinite: it stands in its file
  };

  TokenBook(std::vector<File> files, const Clock& clock);
  absl::StatusOr<std::vector<Entry>> ReadAll() const;
  void Refresh() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::optional<Role> Find(absl::string_view digest) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::vector<File> files_;
  const Clock& clock_;
  absl::Mutex mutex_;
  FileStamps stamps_ ABSL_GUARDED_BY(mutex_);
  absl::Time looked_ ABSL_GUARDED_BY(mutex_);
  std::vector<Entry> entries_ ABSL_GUARDED_BY(mutex_);
  std::string last_problem_ ABSL_GUARDED_BY(mutex_);  // told already
};

}  // namespace flowawr
