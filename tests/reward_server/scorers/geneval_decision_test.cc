#include "reward_server/scorers/geneval_decision.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Json = nlohmann::json;
using Box = std::array<float, 4>;
using Colours = std::map<std::string, std::vector<std::string>>;

const GenevalClasses& Classes() {
  static const auto* const classes = new GenevalClasses({"circle", "square", "triangle", "star"});
  return *classes;
}

struct Scene {
  std::map<std::string, std::vector<Box>> objects;  // by class, the best first
  Colours colours;
};

absl::StatusOr<GenevalVerdict> Judge(const std::string& include, const std::string& exclude, const Scene& scene) {
  std::map<std::string, std::string> metadata = {{"tag", "counting"}, {"include", include}};
  if (!exclude.empty()) metadata["exclude"] = exclude;
  const auto task = ParseGenevalTask(metadata, Classes());
  if (!task.ok()) return task.status();
  std::map<int64_t, std::vector<Instance>> objects;
  for (const auto& [name, boxes] : scene.objects) {
    for (const Box& box : boxes) objects[*Classes().LabelOf(name)].push_back({.score = 1, .box = box});
  }
  return Decide(
      *task, Classes(), objects,
      [&](const std::string& name, absl::Span<const Instance> of_class) -> absl::StatusOr<std::vector<std::string>> {
        const std::vector<std::string>& all = scene.colours.at(name);
        return std::vector<std::string>(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(of_class.size()));
      },
      GenevalThresholds());
}

constexpr Box kLeft = {0, 40, 20, 60}, kRight = {80, 40, 100, 60}, kTop = {40, 0, 60, 20};

struct Case {
  const char* name;
  const char* include;
  const char* exclude;
  Scene scene;
  bool is_exact, is_correct;
  double graded;
  const char* reason;
  const char* found;
};

TEST(GenevalDecisionTest, DecidesByTheTable) {
  const char* const kCircle = R"([{"class": "circle", "count": 1}])";
  const char* const kTwoCircles = R"([{"class": "circle", "count": 2}])";
  const char* const kRedCircle = R"([{"class": "circle", "count": 1, "color": "red"}])";
  const char* const kTwoRedCircles = R"([{"class": "circle", "count": 2, "color": "red"}])";
  const char* const kCircleLeftOfSquare =
      R"([{"class": "square", "count": 1}, {"class": "circle", "count": 1, "position": ["left of", 0]}])";
  const Case kCases[] = {
      {"as asked", kCircle, "", {{{"circle", {kLeft}}}, {}}, true, true, 1, "", "1 circle"},
      {"nothing there", kCircle, "", {}, false, false, 0, "expected circle==1, found 0", "nothing"},
      {"too many is officially right", kCircle, "", {{{"circle", {kLeft, kRight}}}, {}}, false, true, 0,
       "expected circle==1, found 2", "2 circles"},
      {"far too many", kCircle, "", {{{"circle", {kLeft, kRight, kTop}}}, {}}, false, true, -1,
       "expected circle==1, found 3", "3 circles"},
      {"other objects do no harm", kCircle, "", {{{"circle", {kLeft}}, {"square", {kRight}}}, {}}, true, true, 1, "",
       "1 circle, 1 square"},
      {"an exclusion makes too many wrong", kTwoCircles, R"([{"class": "circle", "count": 3}])",
       {{{"circle", {kLeft, kRight, kTop}}}, {}}, false, false, 0.5, "expected circle==2, found 3", "3 circles"},
      {"an exclusion of another class", kCircle, R"([{"class": "square", "count": 1}])",
       {{{"circle", {kLeft}}, {"square", {kRight}}}, {}}, false, false, 0.5, "expected square<1, found 1",
       "1 circle, 1 square"},
      {"an exclusion that is kept", kCircle, R"([{"class": "square", "count": 1}])", {{{"circle", {kLeft}}}, {}}, true,
       true, 1, "", "1 circle"},
      {"the right colour", kRedCircle, "", {{{"circle", {kLeft}}}, {{"circle", {"red"}}}}, true, true, 1, "",
       "1 red circle"},
      {"the wrong colour", kRedCircle, "", {{{"circle", {kLeft}}}, {{"circle", {"blue"}}}}, false, false, 0.5,
       "expected red circle==1, found 0 red; and 1 blue", "1 blue circle"},
      {"one of two colours wrong", kTwoRedCircles, "", {{{"circle", {kLeft, kRight}}}, {{"circle", {"red", "blue"}}}},
       false, false, 0.75, "expected red circle==2, found 1 red; and 1 red, 1 blue", "1 blue circle, 1 red circle"},
      {"officially the best ones' colour counts", kRedCircle, "",
       {{{"circle", {kLeft, kRight}}}, {{"circle", {"red", "blue"}}}}, false, true, 0, "expected circle==1, found 2",
       "1 circle, 1 red circle"},
      {"the right position", kCircleLeftOfSquare, "", {{{"circle", {kLeft}}, {"square", {kRight}}}, {}}, true, true, 1,
       "", "1 circle, 1 square"},
      {"the wrong position", kCircleLeftOfSquare, "", {{{"circle", {kRight}}, {"square", {kLeft}}}, {}}, false, false,
       2.0 / 3, "expected circle left of target, found right of target", "1 circle, 1 square"},
      {"no target", kCircleLeftOfSquare, "", {{{"circle", {kRight}}}, {}}, false, false, 1.0 / 3,
       "expected square==1, found 0; no target for circle to be left of", "1 circle"},
  };
  for (const Case& test : kCases) {
    SCOPED_TRACE(test.name);
    const auto verdict = Judge(test.include, test.exclude, test.scene);
    ASSERT_TRUE(verdict.ok()) << verdict.status();
    EXPECT_EQ(verdict->is_exact, test.is_exact);
    EXPECT_EQ(verdict->is_correct, test.is_correct);
    EXPECT_NEAR(verdict->graded, test.graded, 1e-12);
    EXPECT_EQ(verdict->reason, test.reason);
    EXPECT_EQ(verdict->found, test.found);
  }
}

TEST(GenevalDecisionTest, AgreesWithThePythonRulesOnThousandsOfPictures) {
  const TempFolder folder;
  ASSERT_TRUE(RunPython("tests/reward_server/scorers/geneval_reference.py", {folder / "cases.json"}));
  std::ifstream file(folder / "cases.json");
  int exact = 0, correct = 0;
  for (const Json& test : Json::parse(file)) {
    Scene scene;
    for (const auto& [name, boxes] : test["objects"].items()) scene.objects[name] = boxes.get<std::vector<Box>>();
    scene.colours = test["colours"].get<Colours>();
    const Json& metadata = test["metadata"];
    const auto verdict =
        Judge(metadata["include"].dump(), metadata.contains("exclude") ? metadata["exclude"].dump() : "", scene);
    ASSERT_TRUE(verdict.ok()) << verdict.status();
    EXPECT_EQ(verdict->is_exact, test["exact"].get<bool>()) << test.dump() << verdict->reason;
    EXPECT_EQ(verdict->is_correct, test["correct"].get<bool>()) << test.dump();
    EXPECT_NEAR(verdict->graded, test["graded"].get<double>(), 1e-9) << test.dump();
    exact += verdict->is_exact;
    correct += verdict->is_correct;
  }
  // Enough of both kinds to mean something.
  EXPECT_GT(exact, 200);
  EXPECT_GT(correct, exact);
  EXPECT_LT(correct, 2500);
}

TEST(GenevalDecisionTest, AsksForColoursOnlyWhereTheyDecide) {
  const auto verdict = Judge(R"([{"class": "circle", "count": 2, "color": "red"}])", "", {{{"circle", {kLeft}}}, {}});
  ASSERT_TRUE(verdict.ok());  // colours.at("circle") would have thrown
  EXPECT_EQ(verdict->reason, "expected circle==2, found 1");
}

TEST(RelationsOfTest, NeedsMoreThanAHalfOfTheWayAndSomeDistance) {
  constexpr auto kIs = [](const Box& a, const Box& b) { return RelationsOf(a, b, 0.1); };
  EXPECT_THAT(kIs(kLeft, kRight), ElementsAre(GenevalRelation::kLeftOf));
  EXPECT_THAT(kIs(kRight, kLeft), ElementsAre(GenevalRelation::kRightOf));
  EXPECT_THAT(kIs(kTop, {40, 80, 60, 100}), ElementsAre(GenevalRelation::kAbove));
  EXPECT_THAT(kIs({40, 80, 60, 100}, kTop), ElementsAre(GenevalRelation::kBelow));
  EXPECT_THAT(kIs({0, 0, 10, 10}, {90, 90, 100, 100}),
              ElementsAre(GenevalRelation::kLeftOf, GenevalRelation::kAbove));
  EXPECT_THAT(kIs(kLeft, kLeft), IsEmpty());
  EXPECT_THAT(kIs({0, 0, 20, 20}, {4, 0, 24, 20}), IsEmpty());  // 4 apart: no more than a tenth of both sides
}

TEST(ByLabelTest, KeepsTheBestSixteenOfAClass) {
  std::vector<Instance> instances;
  for (int i = 0; i < 40; ++i) instances.push_back({.label = i % 2, .score = 1.0 - 0.01 * i});
  const auto objects = ByLabel(instances);
  ASSERT_EQ(objects.at(1).size(), 16);
  EXPECT_DOUBLE_EQ(objects.at(1)[0].score, 0.99);
  EXPECT_DOUBLE_EQ(objects.at(1)[15].score, 0.69);
}

}  // namespace
}  // namespace flowawr
