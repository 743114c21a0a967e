// Which of Highway's targets the kernels are compiled for. Include before any of Highway's headers, in kernel sources
// only, so that all of them agree.
#pragma once

// SSSE3 alone is what processors of 2006 have. SVE's vectors have no size that the compiler knows: they cannot be
// tiles of registers; such processors have NEON, too.
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)

#include <hwy/targets.h>  // IWYU pragma: export
