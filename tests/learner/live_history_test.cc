#include "learner/live_history.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace flowawr {
namespace {

using Json = nlohmann::json;

std::string Update(int update, double reward, double samples_per_update = 100) {
  return Json{{"kind", "update"},
              {"update", update},
              {"reward_mean", reward},
              {"by_scorer", {{"ocr", reward}, {"jpeg", 0.5}}},
              {"loss", 0.123456789},
              {"kl", nullptr},
              {"elapsed_s", 10.0 * update},
              {"samples_trained", static_cast<uint64_t>(samples_per_update * update)},
              {"seconds", {{"train", 3.0}, {"wait", 1.0}}}}
      .dump();
}

std::string Evaluation(int update, double reward) {
  return Json{{"kind", "evaluation"}, {"update", update},           {"set", "latest"},
              {"reward_mean", reward}, {"reward_stderr", 0.02},      {"exact_share", nullptr},
              {"images", 64},          {"by_scorer", {{"ocr", 0.5}}}}
      .dump();
}

Json Of(const LiveHistory& history) { return Json::parse(history.ToJson()); }

TEST(LiveHistory, GathersCurvesEvaluationsAndSwaps) {
  LiveHistory history;
  history.TakeLine(Evaluation(0, 0.25));
  for (int update = 1; update <= 3; ++update) history.TakeLine(Update(update, 0.1 * update));
  history.TakeLine(
      R"({"kind":"reward_spec","update":3,"reward_spec":2,)"
      R"("terms":[{"scorer":"ocr","weight":1},{"scorer":"clip","weight":0}]})");
  const Json json = Of(history);
  EXPECT_EQ(json["updates"], 3);
  EXPECT_EQ(json["curves"]["reward_mean"], Json::parse("[[1,0.1],[2,0.2],[3,0.3]]"));
  EXPECT_EQ(json["curves"]["scorer/jpeg"].size(), 3);
  EXPECT_EQ(json["curves"]["images_per_s"], Json::parse("[[2,10],[3,10]]")) << "the first update loaded models, too";
  EXPECT_EQ(json["curves"]["loss"][0][1], 0.12346);
  EXPECT_FALSE(json["curves"].contains("kl")) << "nobody measured it";
  EXPECT_EQ(json["heldout"][0]["reward"], 0.25);
  EXPECT_TRUE(json["heldout"][0]["exact"].is_null());
  EXPECT_EQ(json["swaps"][0]["to"], "ocr weight 1, clip (shadow)");
  EXPECT_EQ(json["seconds"]["train"], 3);
}

TEST(LiveHistory, PassesOverWhatIsNoLineOfARun) {
  LiveHistory history;
  for (const char* line : {"", "{", "[1]", R"({"update":-1})", R"({"kind":"update","update":"x"})", "\xff"})
    history.TakeLine(line);
  EXPECT_EQ(Of(history)["updates"], 0);
  EXPECT_TRUE(Of(history)["curves"].empty());
}

// The page stays small however long the run, and no peak is lost.
TEST(LiveHistory, IsBoundedAndKeepsPeaks) {
  LiveHistory history;
  for (int update = 1; update <= 30000; ++update)
    history.TakeLine(Update(update, update == 12345 ? 99 : 0.5 + 0.1 * std::sin(update)));
  for (int update = 0; update <= 30000; update += 10) history.TakeLine(Evaluation(update, 0.5));
  for (int i = 0; i < 500; ++i)
    history.TakeLine(absl::StrCat(R"({"kind":"reward_spec","update":)", i, R"(,"terms":[{"scorer":")",
                                  std::string(5000, 'x'), R"("}]})"));
  EXPECT_LT(history.ToJson().size(), 150'000);
  double highest = 0;
  const Json json = Of(history);
  for (const Json& point : json["curves"]["reward_mean"]) highest = std::max(highest, point[1].get<double>());
  EXPECT_EQ(highest, 99);
  EXPECT_EQ(json["curves"]["reward_mean"].back()[0], 30000);
  EXPECT_EQ(json["heldout"].back()["update"], 30000);
}

TEST(LiveHistory, TakesARepeatedUpdateOnce) {
  LiveHistory history;
  history.TakeLine(Update(1, 0.1));
  history.TakeLine(Update(1, 0.2));
  EXPECT_EQ(Of(history)["curves"]["reward_mean"], Json::parse("[[1,0.2]]"));
}

TEST(ThinCurve, KeepsTheLowestAndHighestOfEachStretchInOrder) {
  std::vector<CurvePoint> points;
  for (int i = 0; i < 100; ++i) points.push_back({static_cast<double>(i), i == 41 ? -5.0 : i == 77 ? 5.0 : 0.0});
  const std::vector<CurvePoint> thinned = ThinCurve(points, 10);
  EXPECT_LE(thinned.size(), 10);
  bool has_low = false, has_high = false;
  for (size_t i = 0; i < thinned.size(); ++i) {
    has_low |= thinned[i].y == -5;
    has_high |= thinned[i].y == 5;
    if (i > 0) {
      EXPECT_GT(thinned[i].x, thinned[i - 1].x);
    }
  }
  EXPECT_TRUE(has_low && has_high);
  EXPECT_EQ(thinned.back().x, 99);
}

TEST(ThinCurve, KeepsThePeakOfTheLastStretchBesideTheNewestPoint) {
  std::vector<CurvePoint> points;
  for (int i = 0; i < 100; ++i) points.push_back({static_cast<double>(i), i == 95 ? -5.0 : i == 97 ? 5.0 : 0.0});
  const std::vector<CurvePoint> thinned = ThinCurve(points, 10);
  EXPECT_LE(thinned.size(), 10);
  ASSERT_GE(thinned.size(), 3);
  EXPECT_EQ(thinned[thinned.size() - 3].y, -5);
  EXPECT_EQ(thinned[thinned.size() - 2].y, 5);
  EXPECT_EQ(thinned.back().x, 99);
}

}  // namespace
}  // namespace flowawr
