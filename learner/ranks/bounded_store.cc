#include "learner/ranks/bounded_store.h"

#include <mutex>

#include "absl/strings/str_cat.h"

namespace flowawr {
namespace {

[[noreturn]] void RefuseUse() { C10_THROW_ERROR(NotImplementedError, "no rank does that with rank 0's store"); }

}  // namespace

// Counts what there is, which is little, instead of keeping a count that every way to take something away would have to
// keep right.
void BoundedStore::ExpectRoom(size_t bytes) {
  int64_t keys = 1, all_bytes = static_cast<int64_t>(bytes);
  {
    const std::lock_guard<std::mutex> lock(m_);
    keys += static_cast<int64_t>(map_.size() + queues_.size());
    for (const auto& [key, value] : map_) all_bytes += static_cast<int64_t>(key.size() + value.size());
    for (const auto& [key, values] : queues_) {
      keys += static_cast<int64_t>(values.size());
      all_bytes += static_cast<int64_t>(key.size());
      for (const std::vector<uint8_t>& value : values) all_bytes += static_cast<int64_t>(value.size());
    }
  }
  if (keys <= bound_.keys && all_bytes <= bound_.bytes) return;
  C10_THROW_ERROR(DistStoreError,
                  absl::StrCat("rank 0's store is full: it would have ", keys, " keys and ", all_bytes,
                               " bytes, of at most ", bound_.keys, " and ", bound_.bytes,
                               "; find out who fills it, and start rank 0 again with --resume to empty it"));
}

void BoundedStore::set(const std::string& key, const std::vector<uint8_t>& value) {
  const absl::MutexLock lock(&growing_);
  ExpectRoom(key.size() + value.size());
  HashStore::set(key, value);
}

void BoundedStore::queuePush(const std::string& key, const std::vector<uint8_t>& value) {
  const absl::MutexLock lock(&growing_);
  ExpectRoom(key.size() + value.size());
  HashStore::queuePush(key, value);
}

std::vector<uint8_t> BoundedStore::compareSet(const std::string&, const std::vector<uint8_t>&,
                                              const std::vector<uint8_t>&) {
  RefuseUse();
}

int64_t BoundedStore::add(const std::string&, int64_t) { RefuseUse(); }

void BoundedStore::append(const std::string&, const std::vector<uint8_t>&) { RefuseUse(); }

void BoundedStore::multiSet(const std::vector<std::string>&, const std::vector<std::vector<uint8_t>>&) { RefuseUse(); }

}  // namespace flowawr
