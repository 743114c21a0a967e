// The last few embeddings by key, each computed once even if several threads want it at the same time.
#pragma once

#include <ATen/core/Tensor.h>

#include <condition_variable>
#include <cstdint>
#include <list>
#include <string>

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

  // One row a key, in order. `compute` is given the indices of the keys whose embedding nobody has or is computing, the
  // first of equal ones, and returns a row for each. Its error, or exception, is this call's alone: whoever waited for
  // the same keys computes them then.
  using Compute = absl::FunctionRef<absl::StatusOr<at::Tensor>(absl::Span<const size_t> indices)>;
  absl::StatusOr<at::Tensor> Get(absl::Span<const std::string> keys, Compute compute);

  int64_t computed() const;  // rows so far
  size_t size() const;       // remembered ones

 private:
  struct Entry {
    at::Tensor row;  // undefined: being computed
    std::list<std::string>::iterator use;
  };
  // Looks up what is there, claims what nobody has, and returns the claimed indices.
  void Remember(const std::string& key, at::Tensor row) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Release(const std::string& key) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const size_t capacity_;
  mutable absl::Mutex mutex_;
  absl::CondVar has_settled_;  // something is computed or given up
  absl::flat_hash_map<std::string, Entry> entries_ ABSL_GUARDED_BY(mutex_);
  std::list<std::string> by_use_ ABSL_GUARDED_BY(mutex_);  // keys of computed entries, the latest use first
  int64_t computed_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace flowawr
