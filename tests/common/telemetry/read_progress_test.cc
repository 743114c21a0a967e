#include "common/telemetry/read_progress.h"

#include "common/telemetry/log.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace flowawr {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(ReadProgress, IsToldInGigabytes) {
  EXPECT_EQ(ReadingText("transformer", 1'240'000'000, 4'939'000'000), "reading transformer: 1.2 of 4.9 GB");
}

TEST(ReadProgress, TheLogHasOneLineForEachComponentThatIsReadQuickly) {
  ::testing::internal::CaptureStderr();
  InitLogging("actor-1");
  const ComponentProgress log = LogReading();
  for (const char* component : {"transformer", "vae"})
    for (const int64_t bytes : {100'000'000, 200'000'000, 400'000'000}) log(component, bytes, 400'000'000);
  const std::string lines = ::testing::internal::GetCapturedStderr();
  EXPECT_THAT(lines, AllOf(ContainsRegex("info read transformer: 0.40 GB in [0-9.]+ s\n"),
                           ContainsRegex("info read vae: 0.40 GB in [0-9.]+ s\n"), Not(HasSubstr("reading"))));
}

}  // namespace
}  // namespace flowawr
