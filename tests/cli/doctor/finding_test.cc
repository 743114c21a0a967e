#include "cli/doctor/finding.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace flowawr {
namespace {

using ::testing::HasSubstr;
using Level = FindingLevel;

constexpr int64_t kGb = 1'000'000'000;

TEST(FindingTest, IsALineWithItsLevelFirst) {
  EXPECT_EQ(FindingText({Level::kWarn, "disk", "nearly\nfull"}), "warn  disk         nearly; full\n");
  EXPECT_EQ(FindingText({Level::kOk, "port", "free"}), "ok    port         free\n");
  EXPECT_EQ(FindingOf("model", absl::OkStatus(), "whole"), (Finding{Level::kOk, "model", "whole"}));
  EXPECT_EQ(FindingOf("model", absl::NotFoundError("gone"), "whole"), (Finding{Level::kBad, "model", "gone"}));
  EXPECT_EQ(FindingOf("model", absl::NotFoundError("gone"), "", Level::kWarn).level, Level::kWarn);
}

TEST(FindingTest, AnyThatIsBadMakesTheVerdict) {
  const Finding ok{Level::kOk, "a", "b"}, warn{Level::kWarn, "a", "b"}, bad{Level::kBad, "a", "b"};
  EXPECT_TRUE(Verdict({}).ok());
  EXPECT_TRUE(Verdict({ok, warn}).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(Verdict({ok, bad, warn})));
  EXPECT_EQ(SumUp({ok, ok}), "all 2 checks are well");
  EXPECT_EQ(SumUp({ok, bad, warn}), "1 of 3 checks is bad, 1 warns");
  EXPECT_EQ(SumUp({bad, bad, warn, warn}), "2 of 4 checks are bad, 2 warn");
  const auto json = nlohmann::json::parse(FindingsJson({ok, bad, warn}));
  EXPECT_EQ(json["bad"], 1);
  EXPECT_EQ(json["warn"], 1);
  EXPECT_EQ(json["checks"][1], nlohmann::json({{"level", "bad"}, {"subject", "a"}, {"what", "b"}}));
}

TEST(FindingTest, KnowsWhenTwoServersWantOnePort) {
  EXPECT_TRUE(WantOnePort("127.0.0.1:7000", "127.0.0.1:7000"));
  EXPECT_TRUE(WantOnePort("0.0.0.0:7000", "127.0.0.1:7000"));
  EXPECT_TRUE(WantOnePort("127.0.0.1:7000", "[::]:7000"));
  EXPECT_FALSE(WantOnePort("127.0.0.1:7000", "127.0.0.1:7001"));
  EXPECT_FALSE(WantOnePort("127.0.0.1:7000", "127.0.0.2:7000"));
  EXPECT_FALSE(WantOnePort("0.0.0.0:0", "0.0.0.0:0")) << "any port that is free";
}

TEST(FindingTest, JudgesByTheTable) {
  const struct {
    const char* name;
    Finding finding;
    Level level;
    const char* what;
  } cases[] = {
      {"enough memory", JudgeMemory(5 * kGb, 10 * kGb, "advice"), Level::kOk, "need 5.0 GB of 10.0 GB"},
      {"scarcely enough", JudgeMemory(19 * kGb, 20 * kGb, "advice"), Level::kWarn, "advice"},
      {"too little", JudgeMemory(11 * kGb, 10 * kGb, "advice"), Level::kBad, "advice"},
      {"nobody knows", JudgeMemory(11 * kGb, 0, "advice"), Level::kWarn, "could not be found out"},
      {"room", JudgeDisk("runs", 1 * kGb, 9 * kGb), Level::kOk, "runs: checkpoints and exports take up to 1.0 GB"},
      {"scarcely room", JudgeDisk("runs", 8 * kGb, 9 * kGb), Level::kWarn, "make room"},
      {"no room", JudgeDisk("runs", 10 * kGb, 9 * kGb), Level::kBad, "--run-dir"},
      {"minutes", JudgeTime(600, 60), Level::kOk, "about 10 min for 60 updates"},
      {"a month", JudgeTime(30 * 24 * 3600.0, 60), Level::kWarn, "about 30.0 days"},
      {"for ever", JudgeTime(1 / 0., 60), Level::kWarn, "60 updates"},
      {"a good certificate", JudgeExpiry("c.pem", absl::Hours(24 * 90)), Level::kOk, "good for 90 days"},
      {"an old certificate", JudgeExpiry("c.pem", absl::Hours(24 * 29)), Level::kWarn, "expires in 29 days"},
      {"a dead certificate", JudgeExpiry("c.pem", -absl::Hours(1)), Level::kBad, "has expired"},
      {"all can be scored", JudgeScorable("t.txt", 0, 9, "", false), Level::kOk, "can score all 9"},
      {"some cannot", JudgeScorable("t.txt", 2, 9, "t.txt:1: no quotes", false), Level::kBad, "2 of 9, e.g. t.txt:1"},
      {"some are left out", JudgeScorable("t.txt", 2, 9, "x", true), Level::kWarn, "left out (prompts.skip_bad)"},
      {"all would be", JudgeScorable("t.txt", 9, 9, "x", true), Level::kBad, "9 of 9"},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(c.finding.level, c.level) << c.name << ": " << c.finding.what;
    EXPECT_THAT(c.finding.what, HasSubstr(c.what)) << c.name;
  }
}

}  // namespace
}  // namespace flowawr
