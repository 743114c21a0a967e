#include "common/clip/embedding_memory.h"

#include <torch/types.h>

#include <utility>

#include "absl/cleanup/cleanup.h"
#include "common/base/status.h"

namespace flowawr {

absl::StatusOr<at::Tensor> EmbeddingMemory::Get(absl::Span<const std::string> keys, Compute compute) {
  std::vector<at::Tensor> rows(keys.size());
  for (;;) {
    std::vector<size_t> mine;
    {
      absl::MutexLock lock(&mutex_);
      const bool must_wait = Look(keys, rows, mine);
      if (mine.empty() && !must_wait) return at::stack(rows);
      // What this call has claimed it computes before it waits for others: two calls never wait for each other.
      if (mine.empty()) {
        has_settled_.Wait(&mutex_);
        continue;
      }
    }
    absl::Cleanup release = [&] { Release(keys, mine); };
    FLOWAWR_ASSIGN_OR_RETURN(const at::Tensor computed, compute(mine));
    absl::MutexLock lock(&mutex_);
    for (size_t i = 0; i < mine.size(); ++i) {
      rows[mine[i]] = computed[static_cast<int64_t>(i)].clone();
      Remember(keys[mine[i]], rows[mine[i]]);
    }
    std::move(release).Cancel();
    has_settled_.SignalAll();
  }
}

bool EmbeddingMemory::Look(absl::Span<const std::string> keys, std::vector<at::Tensor>& rows,
                           std::vector<size_t>& mine) {
  bool must_wait = false;
  for (size_t i = 0; i < keys.size(); ++i) {
    if (rows[i].defined()) continue;
    const auto [found, is_new] = entries_.try_emplace(keys[i]);
    if (is_new) {
      mine.push_back(i);
    } else if (found->second.row.defined()) {
      rows[i] = found->second.row;
      by_use_.splice(by_use_.begin(), by_use_, found->second.use);
    } else {
      must_wait = true;
    }
  }
  return must_wait;
}

void EmbeddingMemory::Remember(const std::string& key, at::Tensor row) {
  by_use_.push_front(key);
  entries_[key] = {std::move(row), by_use_.begin()};
  ++computed_;
  if (by_use_.size() <= capacity_) return;
  entries_.erase(by_use_.back());
  by_use_.pop_back();
}

void EmbeddingMemory::Release(absl::Span<const std::string> keys, absl::Span<const size_t> mine) {
  absl::MutexLock lock(&mutex_);
  for (const size_t i : mine) entries_.erase(keys[i]);
  has_settled_.SignalAll();
}

int64_t EmbeddingMemory::computed() const {
  absl::MutexLock lock(&mutex_);
  return computed_;
}

size_t EmbeddingMemory::size() const {
  absl::MutexLock lock(&mutex_);
  return by_use_.size();
}

}  // namespace flowawr
