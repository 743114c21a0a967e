// c10d's store in memory that does not grow without end, whoever writes to it.
#pragma once

#include <string>
#include <vector>

#include <torch/csrc/distributed/c10d/HashStore.hpp>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace flowawr {

// Far more than ranks need: a link leaves a few keys behind, of a few hundred bytes.
struct StoreBound {
  int64_t keys = int64_t{1} << 16;   // each value that waits in a queue is one, too
  int64_t bytes = int64_t{64} << 20;  // of keys and values
};

// Thread-safe. What would go beyond the bound is not stored: a DistStoreError says so. Refuses what ranks do not use
// and what would add to it, too.
class BoundedStore final : public c10d::HashStore {
 public:
  explicit BoundedStore(StoreBound bound) : bound_(bound) {}

  void set(const std::string& key, const std::vector<uint8_t>& value) override;
  void queuePush(const std::string& key, const std::vector<uint8_t>& value) override;

  std::vector<uint8_t> compareSet(const std::string& key, const std::vector<uint8_t>& expected,
                                  const std::vector<uint8_t>& desired) override;
  int64_t add(const std::string& key, int64_t value) override;
  void append(const std::string& key, const std::vector<uint8_t>& value) override;
  void multiSet(const std::vector<std::string>& keys, const std::vector<std::vector<uint8_t>>& values) override;
  bool hasExtendedApi() const override { return false; }

 private:
  // Throws when a key and a value of `bytes` in all do not fit any more.
  void ExpectRoom(size_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(growing_);

  const StoreBound bound_;
  absl::Mutex growing_;  // one at a time makes it larger
};

}  // namespace flowawr
