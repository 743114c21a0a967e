// Live bytes of a computation that is gone through without being done. Not thread-safe.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>

namespace flowawr {

class MemoryLedger {
 public:
  // Bytes that are live until the last copy of their Block is gone. The ledger must outlive it. Null: nothing.
  using Block = std::shared_ptr<const int64_t>;

  Block Take(int64_t bytes) {
    Touch(bytes);
    live_ += bytes;
    return Block(new int64_t(bytes), [this](const int64_t* taken) {
      live_ -= *taken;
      delete taken;
    });
  }

  // Bytes that are taken and given back within one operation.
  void Touch(int64_t bytes) { peak_ = std::max(peak_, live_ + bytes); }

  int64_t live() const { return live_; }
  int64_t peak() const { return peak_; }  // the most that was live

 private:
  int64_t live_ = 0;
  int64_t peak_ = 0;
};

}  // namespace flowawr
