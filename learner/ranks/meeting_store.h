// The store by which the ranks of one learner find each other: c10d's, in rank 0's memory, behind a door of our own.
//
//   rank i ── connects ──> StoreServer: both prove the token (rank_proof.h) ── then set, get, ... ──> BoundedStore
//
// c10d's own server asks nobody who they are, takes what anybody writes, and logs stack traces of what it does not
// understand. What is said over a connection after the proof is neither encrypted nor signed.
#pragma once

#include <list>
#include <memory>
#include <string>
#include <thread>

#include <torch/csrc/distributed/c10d/Store.hpp>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/host_port.h"
#include "learner/ranks/bounded_store.h"
#include "learner/ranks/rank_proof.h"
#include "learner/ranks/text_link.h"

namespace flowawr {

// Rank 0's. Thread-safe.
class StoreServer {
 public:
  // Connections that have not proved the token yet; more are closed at once. Each has kProofLimit.
  static constexpr int kMostStrangers = 64;
  // All together, twice as many as there may be ranks; more are closed at once.
  static constexpr size_t kMostConnections = 2048;
  static constexpr absl::Duration kProofLimit = absl::Seconds(5);

  // Owns the socket, one of Listen(). Who is refused is logged, once in ten seconds; what goes beyond `bound` is, too.
  StoreServer(int listening_fd, RankTokens tokens, StoreBound bound = {});
  // Ends all connections.
  ~StoreServer();
  StoreServer(const StoreServer&) = delete;
  StoreServer& operator=(const StoreServer&) = delete;

  const c10::intrusive_ptr<c10d::Store>& store() const { return store_; }

 private:
  struct Connection {
    Connection(int socket_fd, std::string address) : link(socket_fd), host(std::move(address)) {}

    TextLink link;
    const std::string host;
    bool has_proved = false, has_ended = false;  // by the server's lock
    std::thread thread;
  };

  void Accept();
  void Add(int socket_fd, std::string host) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Serve(Connection& connection);
  void ServeProved(Connection& connection);
  void LogRefusal(const std::string& host, const absl::Status& why);
  absl::StatusOr<std::string> Answer(const std::string& request);
  bool IsSetSoon(const std::string& key);

  const int listening_fd_;
  const RankTokens tokens_;
  const c10::intrusive_ptr<c10d::Store> store_;
  absl::Mutex mutex_;
  bool is_closing_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Time refused_at_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  std::list<Connection> connections_ ABSL_GUARDED_BY(mutex_);
  std::thread accepting_;
};

// The same store as another rank has it: what c10d asks of one, as far as ranks need it; errors are thrown as c10d's
// are. Thread-safe, together with its clones. Within `limit` in all, beside the time to look a name up. Unavailable or
// DeadlineExceeded when nobody answers; PermissionDenied when either does not know the other's token; InvalidArgument
// for what is no rank 0 of this version.
absl::StatusOr<c10::intrusive_ptr<c10d::Store>> ReachStore(const HostPort& rank0, const RankTokens& tokens,
                                                           absl::Duration limit);

}  // namespace flowawr
