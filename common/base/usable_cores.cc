#include "common/base/usable_cores.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/control_groups.h"

namespace flowawr {
namespace {

constexpr double kDropped = .05;  // of a core
constexpr int kMostProcessors = 1 << 16;

// 0: unknown. The kernel refuses sets that are smaller than its own.
int CoresOfAffinity() {
  for (int processors = CPU_SETSIZE; processors <= kMostProcessors; processors *= 2) {
    cpu_set_t* const set = CPU_ALLOC(processors);
    if (set == nullptr) return 0;
    const size_t size = CPU_ALLOC_SIZE(processors);
    const bool is_read = sched_getaffinity(0, size, set) == 0;
    const int error = errno, count = is_read ? CPU_COUNT_S(size, set) : 0;
    CPU_FREE(set);
    if (is_read) return count;
    if (error != EINVAL) return 0;
  }
  return 0;
}

}  // namespace

std::string UsableCores::Describe() const {
  if (limit.empty()) return absl::StrCat(count, count == 1 ? " core" : " cores");
  return absl::StrCat(count, " of ", machine, machine == 1 ? " core: " : " cores: ", limit);
}

UsableCores DecideUsableCores(const CoreLimits& limits) {
  UsableCores usable{.count = std::max(limits.machine, 1), .machine = std::max(limits.machine, 1)};
  if (limits.affinity > 0 && limits.affinity < usable.count) {
    usable.count = limits.affinity;
    usable.limit = "the processors that this process may run on (affinity, cpuset)";
  }
  if (limits.quota && *limits.quota < usable.count) {
    usable.count = std::clamp(static_cast<int>(std::ceil(*limits.quota - kDropped)), 1, usable.count);
    usable.limit = absl::StrFormat("CPU quota of the container, %.4g of a core's time", *limits.quota);
    if (*limits.quota > 1) usable.limit = absl::StrFormat("CPU quota of the container, %.4g cores' time", *limits.quota);
  }
  return usable;
}

CoreLimits ReadCoreLimits(const std::string& root) {
  return {.machine = static_cast<int>(std::clamp(sysconf(_SC_NPROCESSORS_ONLN), 1L, long{kMostProcessors})),
          .affinity = CoresOfAffinity(),
          .quota = CoresOf(ReadControlGroups(root))};
}

const UsableCores& UsableCoresHere() {
  static const UsableCores usable = DecideUsableCores(ReadCoreLimits());
  return usable;
}

}  // namespace flowawr
