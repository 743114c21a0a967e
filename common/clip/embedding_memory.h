// The last few embeddings by key, each computed once even if several threads want it at the same time.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <list>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"

namespace flowawr {

// Thread-safe.
class EmbeddingMemory {
 public:
  // Remembers at most `capacity` embeddings; the one that was not asked for the longest is forgotten first.
  explicit EmbeddingMemory(size_t capacity) : capacity_(capacity) {}

  // One row a key, in order; keys are not empty in number. `compute` is given the indices of keys that nobody has or is
  // computing, the first of equal ones, and returns a row for each. Its error, or exception, is this call's alone:
  // whoever waited for the same keys computes them then.
  using Compute = absl::FunctionRef<absl::StatusOr<at::Tensor>(absl::Span<const size_t> indices)>;
  absl::StatusOr<at::Tensor> Get(absl::Span<const std::string> keys, Compute compute);

  int64_t computed() const;  // rows so far
  size_t size() const;       // remembered ones

 private:
  struct Entry {
    at::Tensor row;                        // undefined: being computed
    std::list<std::string>::iterator use;  // of a computed one, in by_use_
  };

  // Fills in the rows that are there, and claims the keys that nobody has: `mine`. True when some key is neither.
  bool Look(absl::Span<const std::string> keys, std::vector<at::Tensor>& rows, std::vector<size_t>& mine)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Remember(const std::string& key, at::Tensor row) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Gives up what is claimed and was not computed.
  void Release(absl::Span<const std::string> keys, absl::Span<const size_t> mine);

  const size_t capacity_;
  mutable absl::Mutex mutex_;
  absl::CondVar has_settled_;  // something is computed or given up
  absl::flat_hash_map<std::string, Entry> entries_ ABSL_GUARDED_BY(mutex_);
  std::list<std::string> by_use_ ABSL_GUARDED_BY(mutex_);  // the latest use first
  int64_t computed_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace flowawr
