// Memory of megabytes that is written soon and whole: an adapter of 38 MB is 19 large pages instead of 9,700 small ones, each of
// which the kernel would be called for. Weights are multiplied by faster, too.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>

namespace flowawr {

// A wish: the kernel may have none, and then gives small ones.
inline void PreferLargePages(void* memory, size_t bytes) {
  constexpr uintptr_t kPage = uintptr_t{2} << 20;
  const auto begin = reinterpret_cast<uintptr_t>(memory);
  const uintptr_t first = (begin + kPage - 1) / kPage * kPage, last = (begin + bytes) / kPage * kPage;
  if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
}

}  // namespace flowawr
