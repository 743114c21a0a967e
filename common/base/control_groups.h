// The control groups that this process is in, which is how containers limit processors and memory: versions 1 and 2,
// with every group above, since each may be the tightest.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace flowawr {

// One group's files of the controllers that matter here; what is not there or not limited is nullopt. A file that cannot
// be understood counts as not there: it is the kernel that enforces, this only foresees.
struct ControlGroup {
  std::optional<double> cores;    // cpu.max, or cpu.cfs_quota_us / cpu.cfs_period_us: processor time per time
  std::optional<int64_t> memory;  // bytes: memory.max and memory.high, or memory.limit_in_bytes

  bool operator==(const ControlGroup&) const = default;
};

// Reads /proc/self/cgroup, /proc/self/mountinfo and the groups' files; empty where there are no control groups. Inside a
// container whose own group is not to be seen, the mount's top stands for it. `root` is put before every path, for tests.
std::vector<ControlGroup> ReadControlGroups(const std::string& root = "");

// The smallest limit, if there is any.
std::optional<double> CoresOf(const std::vector<ControlGroup>& groups);
std::optional<int64_t> MemoryOf(const std::vector<ControlGroup>& groups);

}  // namespace flowawr
