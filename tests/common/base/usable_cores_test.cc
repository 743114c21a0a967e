#include "common/base/usable_cores.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>

#include <string>
#include <thread>

namespace flowawr {
namespace {

using ::testing::HasSubstr;

TEST(UsableCoresTest, TakesTheTightestLimit) {
  struct Case {
    const char* name;
    CoreLimits limits;
    int expected;
    const char* describes;
  };
  const Case cases[] = {
      {"the whole machine", {64, 64, {}}, 64, "64 cores"},
      {"one core", {1, 1, {}}, 1, "1 core"},
      {"affinity unknown", {8, 0, {}}, 8, "8 cores"},
      {"affinity", {64, 4, {}}, 4, "4 of 64 cores: the processors that this process may run on (affinity, cpuset)"},
      {"half a core", {64, 64, .5}, 1, "1 of 64 cores: CPU quota of the container, 0.5 of a core's time"},
      {"next to nothing", {64, 64, .001}, 1, "1 of 64 cores"},
      {"two cores", {64, 64, 2.0}, 2, "2 of 64 cores: CPU quota of the container, 2 cores' time"},
      {"a part of a core counts", {64, 64, 1.5}, 2, "2 of 64 cores: CPU quota of the container, 1.5 cores' time"},
      {"a rounding does not", {64, 64, 2.03}, 2, "2 of 64 cores"},
      {"a quota that allows all", {4, 4, 8.0}, 4, "4 cores"},
      {"a quota of exactly all", {4, 4, 4.0}, 4, "4 cores"},
      {"the quota is tighter", {64, 8, 2.0}, 2, "quota"},
      {"affinity is tighter", {64, 2, 8.0}, 2, "affinity"},
      {"one core, half of it", {1, 1, .5}, 1, "1 of 1 core: CPU quota of the container, 0.5 of a core's time"},
      {"nothing known", {0, 0, {}}, 1, "1 core"},
  };
  for (const Case& c : cases) {
    const UsableCores usable = DecideUsableCores(c.limits);
    EXPECT_EQ(usable.count, c.expected) << c.name;
    EXPECT_THAT(usable.Describe(), HasSubstr(c.describes)) << c.name;
  }
}

TEST(UsableCoresTest, SeesTheAffinityOfItsThread) {
  std::thread([] {
    cpu_set_t before, one;
    ASSERT_EQ(sched_getaffinity(0, sizeof(before), &before), 0);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++i)
      if (CPU_ISSET(i, &before)) CPU_SET(i, &one);
    ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
    EXPECT_EQ(ReadCoreLimits().affinity, 1);
    EXPECT_EQ(DecideUsableCores(ReadCoreLimits()).count, 1);
  }).join();
}

}  // namespace
}  // namespace flowawr
