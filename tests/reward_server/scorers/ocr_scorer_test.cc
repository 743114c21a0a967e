#include "reward_server/scorers/ocr_scorer.h"

#include <algorithm>
#include <random>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "reward_server/scorer_registry.h"
#include "tests/reward_server/scorers/test_items.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;

std::shared_ptr<Scorer> LoadOcr(std::map<std::string, std::string> options = {}, int threads = 1) {
  auto scorer = ScorerRegistry::Default().Make("ocr", std::move(options), {.threads = threads});
  EXPECT_TRUE(scorer.ok()) << scorer.status();
  return scorer.value_or(nullptr);
}

// Words that the engine reads well, and one picture each of nothing and of noise.
std::vector<v1::ScoreItem> MixedItems() {
  std::vector<v1::ScoreItem> items = DrawWords({"CAT", "DOG", "SUN", "HEN", "KEY", "MAP", "BUS", "FAN", "WEB", "ZOO"});
  items.push_back(MakeItem(Plain(32, 64), "\"CAT\""));
  std::mt19937 random(5);
  Image noise = Plain(32, 64);
  for (char& byte : noise.rgb) byte = static_cast<char>(random());
  items.push_back(MakeItem(noise, "\"CAT\""));
  return items;
}

std::vector<std::string> Serialised(const std::vector<v1::ScoreResult>& results) {
  std::vector<std::string> lines;
  for (const v1::ScoreResult& result : results) {
    const std::map<std::string, std::string> details(result.details().begin(), result.details().end());
    std::string line = std::to_string(result.reward());
    for (const auto& [key, value] : details) line += "|" + key + "=" + value;
    lines.push_back(line);
  }
  return lines;
}

TEST(OcrScorerTest, ReadsCleanWords) {
  const auto items = DrawWords({"CAT", "DOG", "SUN", "HEN", "KEY", "MAP", "BUS", "FAN", "WEB", "ZOO"});
  const auto results = LoadOcr()->Score(Pointers(items), kAlwaysWanted);
  ASSERT_EQ(results.size(), items.size());
  for (const v1::ScoreResult& result : results) {
    EXPECT_EQ(result.reward(), 1) << result.DebugString();
    EXPECT_EQ(result.details().at("exact"), "true");
    EXPECT_EQ(result.details().at("text"), result.details().at("target"));
    EXPECT_EQ(result.details().at("distance"), "0");
  }
}

TEST(OcrScorerTest, RewardsWhatIsReadAgainstWhatWasAsked) {
  auto items = DrawWords({"CAT"});
  items[0].set_prompt("a sign that says \"CAR\"");
  EXPECT_DOUBLE_EQ(LoadOcr()->Score(Pointers(items), kAlwaysWanted)[0].reward(), 2.0 / 3);
  (*items[0].mutable_metadata())["target"] = "CAT";
  EXPECT_DOUBLE_EQ(LoadOcr()->Score(Pointers(items), kAlwaysWanted)[0].reward(), 1);
}

TEST(OcrScorerTest, GivesNothingForAnEmptyPicture) {
  const v1::ScoreItem item = MakeItem(Plain(32, 64), "\"CAT\"");
  const v1::ScoreItem* pointer = &item;
  const auto results = LoadOcr()->Score({&pointer, 1}, kAlwaysWanted);
  ASSERT_TRUE(results[0].has_reward()) << results[0].DebugString();
  EXPECT_EQ(results[0].reward(), 0);
}

TEST(OcrScorerTest, RefusesItemsWithoutATarget) {
  const v1::ScoreItem item = MakeItem(Plain(32, 64), "a sign");
  const v1::ScoreItem* pointer = &item;
  const auto results = LoadOcr()->Score({&pointer, 1}, kAlwaysWanted);
  EXPECT_EQ(results[0].error().kind(), v1::ScoreError::BAD_INPUT);
}

TEST(OcrScorerTest, ScoresPicturesOfAnyShape) {
  const auto scorer = LoadOcr();
  for (const auto& [height, width] :
       std::vector<std::pair<int, int>>{{1, 1}, {1, 2000}, {2000, 1}, {3, 3}, {700, 900}}) {
    const v1::ScoreItem item = MakeItem(Plain(height, width, 0), "\"CAT\"");
    const v1::ScoreItem* pointer = &item;
    EXPECT_TRUE(scorer->Score({&pointer, 1}, kAlwaysWanted)[0].has_reward()) << height << " x " << width;
  }
}

// A recognition must not depend on what the engine saw before.
TEST(OcrScorerTest, ReadsTheSameInAnyOrder) {
  const auto items = MixedItems();
  const auto scorer = LoadOcr();
  const std::vector<std::string> expected = Serialised(scorer->Score(Pointers(items), kAlwaysWanted));
  std::vector<size_t> order(items.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::mt19937 random(11);
  for (int round = 0; round < 4; ++round) {
    std::shuffle(order.begin(), order.end(), random);
    std::vector<const v1::ScoreItem*> shuffled;
    for (const size_t i : order) shuffled.push_back(&items[i]);
    const std::vector<std::string> read = Serialised(scorer->Score(shuffled, kAlwaysWanted));
    for (size_t i = 0; i < order.size(); ++i) EXPECT_EQ(read[i], expected[order[i]]);
  }
}

TEST(OcrScorerTest, ReadsTheSameOnEveryThread) {
  const auto items = MixedItems();
  const auto scorer = LoadOcr({}, 3);
  const std::vector<std::string> expected = Serialised(scorer->Score(Pointers(items), kAlwaysWanted));
  std::vector<std::vector<std::string>> read(3);
  std::vector<std::thread> threads;
  for (auto& mine : read) threads.emplace_back([&] { mine = Serialised(scorer->Score(Pointers(items), kAlwaysWanted)); });
  for (std::thread& thread : threads) thread.join();
  for (const auto& mine : read) EXPECT_EQ(mine, expected);
}

TEST(OcrScorerTest, RestrictsLettersAsTold) {
  const auto items = DrawWords({"CAT"});
  const auto results = LoadOcr({{"letters", "0123456789"}})->Score(Pointers(items), kAlwaysWanted);
  ASSERT_TRUE(results[0].has_reward());
  EXPECT_THAT(results[0].details().at("text"), testing::Not(testing::ContainsRegex("[A-Za-z]")));
}

TEST(OcrScorerTest, NamesEngineAndModelAsItsVersion) {
  EXPECT_THAT(LoadOcr()->version(), testing::MatchesRegex("tesseract [0-9.]+.* eng"));
}

TEST(OcrScorerTest, SaysWhyItCannotBeLoaded) {
  const ScorerRegistry& registry = ScorerRegistry::Default();
  const auto language = registry.Make("ocr", {{"language", "xyz"}}, {});
  EXPECT_TRUE(absl::IsNotFound(language.status()));
  EXPECT_THAT(std::string(language.status().message()), HasSubstr("xyz"));
  const auto option = registry.Make("ocr", {{"colour", "red"}}, {});
  EXPECT_TRUE(absl::IsInvalidArgument(option.status()));
  EXPECT_THAT(std::string(option.status().message()), HasSubstr("unknown option colour"));
  EXPECT_TRUE(absl::IsInvalidArgument(registry.Make("ocr", {{"margin", "-1"}}, {}).status()));
  EXPECT_TRUE(absl::IsNotFound(registry.Make("telepathy", {}, {}).status()));
}

}  // namespace
}  // namespace flowawr
