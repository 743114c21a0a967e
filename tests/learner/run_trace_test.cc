#include "learner/run_trace.h"

#include <cmath>

#include "absl/time/clock.h"
#include "common/base/file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using testing::IsEmpty;
using testing::SizeIs;

constexpr double kNow = 1.8e9;
absl::Time Now() { return absl::UnixEpoch() + absl::Seconds(kNow); }

Group MakeGroup(const std::string& stage, double start, double seconds) {
  Group group;
  group.lease.set_group_id(7);
  group.lease.set_policy_version(3);
  group.header.set_actor_id("actor-0");
  v1::StageSpan& span = *group.header.add_spans();
  span.set_stage(stage);
  span.set_start_unix_s(start);
  span.set_seconds(seconds);
  return group;
}

TEST(RunTrace, TakesWhatAnActorDidForAGroup) {
  const std::vector<TraceSpan> spans = SpansOf(MakeGroup("sample", kNow - 2, 1.5), Now());
  ASSERT_THAT(spans, SizeIs(1));
  EXPECT_EQ(spans[0].process, "actor-0");
  EXPECT_EQ(spans[0].track, "sample");
  EXPECT_EQ(spans[0].start, Now() - absl::Seconds(2));
  EXPECT_EQ(spans[0].length, absl::Seconds(1.5));
  EXPECT_EQ(spans[0].details[0].second, "7");
}

TEST(RunTrace, LeavesOutWhatCannotBe) {
  EXPECT_THAT(SpansOf(MakeGroup("mining", kNow - 2, 1), Now()), IsEmpty());
  for (const double start : {0.0, kNow + 1e6, std::nan(""), HUGE_VAL, -HUGE_VAL})
    EXPECT_THAT(SpansOf(MakeGroup("sample", start, 1), Now()), IsEmpty()) << start;
  for (const double seconds : {-1.0, 1e9, std::nan(""), HUGE_VAL})
    EXPECT_THAT(SpansOf(MakeGroup("sample", kNow - 2, seconds), Now()), IsEmpty()) << seconds;
  Group many = MakeGroup("sample", kNow - 2, 1);
  for (int i = 0; i < 1000; ++i) *many.header.add_spans() = many.header.spans(0);
  EXPECT_THAT(SpansOf(many, Now()), SizeIs(16));
}

TEST(RunTrace, DrawsABatchThatWasSampledAtOnceOnce) {
  const TempFolder folder;
  {
    RunTrace trace;
    trace.Open(folder.path(), 1);
    const double start = absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch()) - 5;
    trace.Groups({MakeGroup("sample", start, 1), MakeGroup("sample", start, 1), MakeGroup("sample", start + 1, 1)});
  }
  const std::string text = ReadFile(folder / "trace.json").value();
  size_t spans = 0;
  for (size_t at = 0; (at = text.find("\"ph\":\"X\"", at)) != std::string::npos; ++at) ++spans;
  EXPECT_EQ(spans, 2);
}

TEST(RunTrace, IsNothingWhenItIsNotWantedOrCannotBe) {
  const TempFolder folder;
  RunTrace none, nowhere;
  none.Open(folder.path(), 0);
  nowhere.Open(folder / "missing", 1);
  for (RunTrace* trace : {&none, &nowhere}) {
    trace->Stage("train", absl::Now(), absl::Seconds(1), 1);
    trace->Mark("swap");
  }
  EXPECT_FALSE(ReadFile(folder / "trace.json").ok());
}

}  // namespace
}  // namespace flowawr
