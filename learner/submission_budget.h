// How many bytes of groups may be on their way at once, of one actor and of all: memory is promised before it is used.
// Thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"

namespace flowawr {

class SubmissionBudget {
 public:
  struct Limits {
    uint64_t bytes_of_actor = uint64_t{256} << 20;
    uint64_t bytes = uint64_t{2} << 30;
    int groups_of_actor = 4;
  };
  explicit SubmissionBudget(const Limits& limits) : limits_(limits) {}

  // ResourceExhausted when that is too much; the actor tries again. The only group of an actor, and the only one of
  // all, may have any size. With each OK goes one Release() of the same.
  absl::Status Reserve(const std::string& actor_id, uint64_t bytes);
  void Release(const std::string& actor_id, uint64_t bytes);

 private:
  struct Used {
    uint64_t bytes = 0;
    int groups = 0;
  };
  const Limits limits_;
  absl::Mutex mutex_;
  Used all_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, Used> by_actor_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace flowawr
