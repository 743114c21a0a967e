// Where the ranks of one learner find each other, and the link between rank 0 and each of the others: a store, which
// only who has proved the token reads and writes (meeting_store.h), and c10d's process groups of two.
//
//   rank i ── SayHello(text, session) ──> store of rank 0 ── NextHello() ──> rank 0
//   rank i <── Answer(session, text) ──────────────────────────────────────┘
//   both: Link(session), a group of their own
//
// A group for each pair, not one for all: a rank that is lost breaks its own alone, and is back with a new session.
// Nothing is encrypted, and c10d's groups do not know who calls: for networks of the ranks' own. Who a link leads to is
// found out once more over the link itself (rank_proof.h).
#pragma once

#include <c10/core/Device.h>

#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/host_port.h"
#include "learner/ranks/rank_link.h"
#include "learner/ranks/rank_proof.h"

namespace flowawr {

// For one thread.
class MeetingPoint {
 public:
  // Rank 0's; port 0 is any free one. AlreadyExists when the port is taken, InvalidArgument for an address of others.
  static absl::StatusOr<std::unique_ptr<MeetingPoint>> Serve(const HostPort& listen, RankTokens tokens);
  // Rank 0's as another rank sees it. Unavailable when it does not answer within `limit`; else as ReachStore().
  static absl::StatusOr<std::unique_ptr<MeetingPoint>> Reach(const HostPort& rank0, const RankTokens& tokens,
                                                             absl::Duration limit);
  virtual ~MeetingPoint() = default;

  virtual HostPort address() const = 0;

  // All of these: Unavailable when rank 0 is gone.
  virtual absl::Status SayHello(const std::string& text) = 0;
  // In the order in which they were said. Does not wait: nullopt when nobody has said another. InvalidArgument for one
  // that is too long; the next may be asked for.
  virtual absl::StatusOr<std::optional<std::string>> NextHello() = 0;
  // `session` is a name that nobody else has.
  virtual absl::Status Answer(const std::string& session, const std::string& text) = 0;
  // DeadlineExceeded without an answer for `limit`.
  virtual absl::StatusOr<std::string> AwaitAnswer(const std::string& session, absl::Duration limit) = 0;

  // Both ends call it, within `limit` of each other; `host` is this machine's as the other end reaches it. With
  // `nccl_device`, both with one, vectors go by NCCL from and to it.
  virtual absl::StatusOr<std::unique_ptr<RankLink>> Link(const std::string& session, bool is_rank0, const std::string& host,
                                                         absl::Duration limit,
                                                         std::optional<at::Device> nccl_device = std::nullopt) = 0;
};

}  // namespace flowawr
