#include "common/base/control_groups.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <string>

#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

constexpr char kMachine[] = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n";
constexpr char kV2[] = "30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
constexpr char kV1Cpu[] = "33 22 0:30 / /sys/fs/cgroup/cpu,cpuacct rw shared:5 - cgroup cgroup rw,cpu,cpuacct\n";
constexpr char kV1Memory[] = "34 22 0:31 / /sys/fs/cgroup/memory rw shared:6 - cgroup cgroup rw,memory\n";

struct Case {
  const char* name;
  std::string mounts, groups;
  std::map<std::string, std::string> files;
  std::optional<double> cores;
  std::optional<int64_t> memory;
};

void Check(const Case& c) {
  SCOPED_TRACE(c.name);
  const TempFolder root;
  const auto write = [&](const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root / path).parent_path());
    root.Write(path, text);
  };
  if (!c.mounts.empty()) write("proc/self/mountinfo", kMachine + c.mounts);
  if (!c.groups.empty()) write("proc/self/cgroup", c.groups);
  for (const auto& [path, text] : c.files) write("sys/fs/cgroup/" + path, text);
  const std::vector<ControlGroup> groups = ReadControlGroups(root.path());
  EXPECT_EQ(CoresOf(groups), c.cores);
  EXPECT_EQ(MemoryOf(groups), c.memory);
}

TEST(ControlGroupsTest, FindsTheLimitsOfVersion2) {
  const Case cases[] = {
      {"half a core", kV2, "0::/\n", {{"cpu.max", "50000 100000\n"}}, .5, {}},
      {"no limit", kV2, "0::/\n", {{"cpu.max", "max 100000\n"}, {"memory.max", "max\n"}}, {}, {}},
      {"the own group", kV2, "0::/a/b\n", {{"a/b/cpu.max", "150000 100000\n"}}, 1.5, {}},
      {"the group above is tighter",
       kV2,
       "0::/a/b\n",
       {{"a/b/cpu.max", "400000 100000\n"}, {"a/cpu.max", "200000 100000\n"}, {"a/b/memory.max", "max\n"},
        {"a/memory.max", "1000\n"}},
       2,
       1000},
      {"not a group beside it", kV2, "0::/a/b\n",
       {{"a/bc/cpu.max", "1000 100000\n"}, {"a/b/cpu.max", "max\n"}}, {}, {}},
      {"another period", kV2, "0::/\n", {{"cpu.max", "5000 10000\n"}}, .5, {}},
      {"memory.high", kV2, "0::/\n", {{"memory.max", "2000\n"}, {"memory.high", "1500\n"}}, {}, 1500},
      {"a container's mount",
       "30 22 0:26 /docker/x /sys/fs/cgroup ro - cgroup2 cgroup rw\n",
       "0::/docker/x\n",
       {{"cpu.max", "200000 100000\n"}},
       2,
       {}},
      {"a group outside the namespace", kV2, "0::/../y\n", {{"cpu.max", "200000 100000\n"}}, 2, {}},
      {"a folder with a blank",
       "30 22 0:26 / /sys/fs/cgroup/a\\040b rw - cgroup2 cgroup2 rw\n",
       "0::/\n",
       {{"a b/cpu.max", "50000 100000\n"}},
       .5,
       {}},
  };
  for (const Case& c : cases) Check(c);
}

TEST(ControlGroupsTest, FindsTheLimitsOfVersion1) {
  const std::string both = std::string(kV1Cpu) + kV1Memory;
  const std::string groups = "3:memory:/m\n2:cpu,cpuacct:/a/b\n";
  const std::string cpu = "cpu,cpuacct/";
  const Case cases[] = {
      {"quota and memory",
       both,
       groups,
       {{cpu + "a/b/cpu.cfs_quota_us", "50000\n"}, {cpu + "a/b/cpu.cfs_period_us", "100000\n"},
        {"memory/m/memory.limit_in_bytes", "4096\n"}},
       .5,
       4096},
      {"no limit",
       both,
       groups,
       {{cpu + "a/b/cpu.cfs_quota_us", "-1\n"}, {cpu + "a/b/cpu.cfs_period_us", "100000\n"},
        {"memory/m/memory.limit_in_bytes", "9223372036854771712\n"}},
       {},
       {}},
      {"the group above is tighter",
       both,
       groups,
       {{cpu + "a/b/cpu.cfs_quota_us", "300000\n"}, {cpu + "a/cpu.cfs_quota_us", "100000\n"},
        {"memory/memory.limit_in_bytes", "100\n"}, {"memory/m/memory.limit_in_bytes", "200\n"}},
       1,
       100},
      {"a container that sees only its own group",
       "33 22 0:30 /docker/x /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu\n",
       "2:cpu:/docker/x\n",
       {{"cpu/cpu.cfs_quota_us", "250000\n"}, {"cpu/cpu.cfs_period_us", "100000\n"}},
       2.5,
       {}},
      {"a group that the mount does not show", both, "2:cpu,cpuacct:/elsewhere\n",
       {{cpu + "cpu.cfs_quota_us", "100000\n"}}, 1, {}},
      {"both versions, the limit in the first",
       std::string(kV2) + kV1Cpu,
       "2:cpu,cpuacct:/\n0::/\n",
       {{cpu + "cpu.cfs_quota_us", "100000\n"}},
       1,
       {}},
  };
  for (const Case& c : cases) Check(c);
}

TEST(ControlGroupsTest, TakesWhatItCannotReadForNoLimit) {
  const Case cases[] = {
      {"nothing at all", "", "", {}, {}, {}},
      {"no mounts", "", "0::/\n", {{"cpu.max", "50000 100000\n"}}, {}, {}},
      {"no memberships", kV2, "", {{"cpu.max", "50000 100000\n"}}, {}, {}},
      {"lines that are none", "x\n1 2 3 - cgroup2\n - \n\n", "::\n0\n0:\n", {{"cpu.max", "50000 100000\n"}}, {}, {}},
      {"words", kV2, "0::/\n", {{"cpu.max", "many few\n"}, {"memory.max", "much\n"}}, {}, {}},
      {"empty files", kV2, "0::/\n", {{"cpu.max", ""}, {"memory.max", ""}}, {}, {}},
      {"a period of nothing", kV2, "0::/\n", {{"cpu.max", "50000 0\n"}}, {}, {}},
      {"a period that is no number", kV2, "0::/\n", {{"cpu.max", "50000 nan\n"}}, {}, {}},
      {"below nothing", kV2, "0::/\n", {{"cpu.max", "-50000 100000\n"}, {"memory.max", "-5\n"}}, {}, {}},
      {"beyond numbers", kV2, "0::/\n", {{"cpu.max", "1e400 1\n"}, {"memory.max", "99999999999999999999\n"}}, {}, {}},
  };
  for (const Case& c : cases) Check(c);
}

}  // namespace
}  // namespace flowawr
