#include "common/base/control_groups.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/base/file.h"

namespace flowawr {
namespace {

constexpr size_t kMostBytes = 1 << 20;           // of a file of /proc or of a group
constexpr int64_t kUnlimited = int64_t{1} << 60;  // version 1 says "no limit" by a number near 2^63
constexpr double kDefaultPeriod = 100'000;       // microseconds, the kernel's

std::string Read(const std::string& path) { return ReadFile(path, kMostBytes).value_or(""); }

// mountinfo writes blanks and backslashes of paths as \040 and the like.
std::string Unescape(absl::string_view text) {
  std::string path;
  for (size_t i = 0; i < text.size(); ++i) {
    const absl::string_view code = text.substr(i, 4);
    const auto is_octal = [](char c) { return c >= '0' && c <= '7'; };
    if (code.size() == 4 && code[0] == '\\' && std::all_of(code.begin() + 1, code.end(), is_octal)) {
      path += static_cast<char>((code[1] - '0') * 64 + (code[2] - '0') * 8 + code[3] - '0');
      i += 3;
    } else {
      path += text[i];
    }
  }
  return path;
}

// A mounted tree of groups: its folder `top` shows the group `group`.
struct Mount {
  bool is_v2 = false;
  std::vector<std::string> controllers;  // of version 1
  std::string group, top;
};

// 36 35 98:0 ROOT MOUNT_POINT OPTIONS [TAGS...] - TYPE SOURCE SUPER_OPTIONS
std::vector<Mount> ParseMounts(absl::string_view mountinfo) {
  std::vector<Mount> mounts;
  for (const absl::string_view line : absl::StrSplit(mountinfo, '\n')) {
    const std::pair<absl::string_view, absl::string_view> halves = absl::StrSplit(line, absl::MaxSplits(" - ", 1));
    const std::vector<absl::string_view> left = absl::StrSplit(halves.first, ' ');
    const std::vector<absl::string_view> right = absl::StrSplit(halves.second, ' ');
    if (left.size() < 6 || right.size() < 3 || (right[0] != "cgroup" && right[0] != "cgroup2")) continue;
    mounts.push_back({.is_v2 = right[0] == "cgroup2",
                      .controllers = absl::StrSplit(right[2], ','),
                      .group = Unescape(left[3]),
                      .top = Unescape(left[4])});
  }
  return mounts;
}

// Whether `controllers` of a line of /proc/self/cgroup belong to `mount`; version 2 names none.
bool BelongsTo(absl::string_view controllers, const Mount& mount) {
  if (controllers.empty() || mount.is_v2) return controllers.empty() && mount.is_v2;
  const std::vector<std::string> wanted = absl::StrSplit(controllers, ',');
  return std::ranges::all_of(wanted, [&](const std::string& controller) {
    return std::ranges::find(mount.controllers, controller) != mount.controllers.end();
  });
}

// The folders of `group` and of those above it, as far as the mount shows them; from the inside out.
std::vector<std::string> FoldersOf(absl::string_view group, const Mount& mount, const std::string& root) {
  const std::string top = root + (mount.top == "/" ? "" : mount.top);
  absl::string_view below = group;
  const std::string own = mount.group == "/" ? "" : mount.group;
  if (!absl::ConsumePrefix(&below, own) || (!below.empty() && below[0] != '/')) below = "";
  std::vector<std::string> folders;
  std::error_code error;
  while (below.size() > 1) {
    // "..": the group lies outside this process's namespace.
    if (!absl::StrContains(below, "/..") && std::filesystem::is_directory(absl::StrCat(top, below), error))
      folders.push_back(absl::StrCat(top, below));
    below = below.substr(0, below.rfind('/'));
  }
  folders.push_back(top);
  return folders;
}

std::optional<int64_t> Bytes(const std::string& text) {
  int64_t bytes = 0;
  if (!absl::SimpleAtoi(absl::StripAsciiWhitespace(text), &bytes) || bytes < 0 || bytes >= kUnlimited)
    return std::nullopt;
  return bytes;
}

std::optional<double> Ratio(absl::string_view quota_text, absl::string_view period_text) {
  double quota = 0, period = kDefaultPeriod;
  if (!absl::SimpleAtod(absl::StripAsciiWhitespace(quota_text), &quota) || !(quota > 0 && quota < 1e15))
    return std::nullopt;  // also -1 and "max": no limit
  period_text = absl::StripAsciiWhitespace(period_text);
  if (!period_text.empty() && (!absl::SimpleAtod(period_text, &period) || !(period > 0))) return std::nullopt;
  return quota / period;
}

ControlGroup ReadGroup(const std::string& folder, bool is_v2) {
  if (!is_v2) {
    return {.cores = Ratio(Read(folder + "/cpu.cfs_quota_us"), Read(folder + "/cpu.cfs_period_us")),
            .memory = Bytes(Read(folder + "/memory.limit_in_bytes"))};
  }
  const std::string cpu_max = Read(folder + "/cpu.max");
  const std::pair<absl::string_view, absl::string_view> cpu = absl::StrSplit(cpu_max, absl::MaxSplits(' ', 1));
  ControlGroup group = {.cores = Ratio(cpu.first, cpu.second), .memory = Bytes(Read(folder + "/memory.max"))};
  // Above memory.high the kernel slows processes down until they give memory back.
  const std::optional<int64_t> high = Bytes(Read(folder + "/memory.high"));
  if (high && (!group.memory || *high < *group.memory)) group.memory = high;
  return group;
}

template <typename T>
std::optional<T> Smallest(const std::vector<ControlGroup>& groups, std::optional<T> ControlGroup::*limit) {
  std::optional<T> smallest;
  for (const ControlGroup& group : groups)
    if (group.*limit && (!smallest || *(group.*limit) < *smallest)) smallest = group.*limit;
  return smallest;
}

}  // namespace

std::vector<ControlGroup> ReadControlGroups(const std::string& root) {
  std::vector<ControlGroup> groups;
  const std::vector<Mount> mounts = ParseMounts(Read(root + "/proc/self/mountinfo"));
  const std::string memberships = Read(root + "/proc/self/cgroup");
  for (const absl::string_view line : absl::StrSplit(memberships, '\n')) {
    const std::vector<absl::string_view> fields = absl::StrSplit(line, absl::MaxSplits(':', 2));  // ID:CONTROLLERS:GROUP
    if (fields.size() != 3) continue;
    for (const Mount& mount : mounts) {
      if (!BelongsTo(fields[1], mount)) continue;
      for (const std::string& folder : FoldersOf(fields[2], mount, root))
        groups.push_back(ReadGroup(folder, mount.is_v2));
    }
  }
  return groups;
}

std::optional<double> CoresOf(const std::vector<ControlGroup>& groups) {
  return Smallest(groups, &ControlGroup::cores);
}

std::optional<int64_t> MemoryOf(const std::vector<ControlGroup>& groups) {
  return Smallest(groups, &ControlGroup::memory);
}

}  // namespace flowawr
