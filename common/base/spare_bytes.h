// Large byte strings one after the other: each is written into the memory of one that nobody needs any more. Fresh memory
// costs more than what is written into it: the kernel clears every page first.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace flowawr {

// Keeps the memory of one. Thread-safe.
class SpareBytes {
 public:
  // Empty, with the memory that is kept, or none.
  std::string Take() { return kept_->Take(); }

  // The same bytes; when the last owner lets them go, their memory is kept, if this still exists.
  std::shared_ptr<const std::string> Share(std::string bytes) {
    return {new std::string(std::move(bytes)), [kept = std::weak_ptr<Kept>(kept_)](std::string* let_go) {
              if (const std::shared_ptr<Kept> alive = kept.lock()) alive->Keep(std::move(*let_go));
              delete let_go;
            }};
  }

 private:
  struct Kept {
    std::string Take() {
      const absl::MutexLock lock(&mutex);
      std::string taken;
      taken.swap(bytes);
      taken.clear();
      return taken;
    }
    void Keep(std::string let_go) {
      const absl::MutexLock lock(&mutex);
      if (let_go.capacity() > bytes.capacity()) bytes.swap(let_go);
    }

    absl::Mutex mutex;
    std::string bytes ABSL_GUARDED_BY(mutex);
  };
  const std::shared_ptr<Kept> kept_ = std::make_shared<Kept>();
};

}  // namespace flowawr
