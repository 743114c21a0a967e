#include "common/base/allocator.h"

#include <malloc.h>

namespace flowawr {

void GiveBackFreedMemory() {
  constexpr int kBytes = 1 << 20;
  mallopt(M_MMAP_THRESHOLD, kBytes);  // setting it also stops glibc from raising it
  mallopt(M_TRIM_THRESHOLD, kBytes);
}

void KeepFreedMemory() {
  mallopt(M_MMAP_THRESHOLD, 16 << 20);
  mallopt(M_TRIM_THRESHOLD, 64 << 20);
}

}  // namespace flowawr
