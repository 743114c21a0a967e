#include "reward_server/scorer_host.h"

#include <atomic>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "prometheus/text_serializer.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class OneScorer : public Scorer {
 public:
  std::vector<v1::ScoreResult> Score(absl::Span<const v1::ScoreItem* const> items, StillWanted) override {
    return {items.size(), RewardResult(1)};
  }
  const std::string& version() const override { return version_; }
  int parallel_calls() const override { return 2; }

 private:
  const std::string version_ = "one 1.0";
};

class ScorerHostTest : public testing::Test {
 protected:
  ScorerHostTest() {
    registry_.Register("one", [](ScorerOptions& options, const ScorerContext&) -> absl::StatusOr<std::shared_ptr<Scorer>> {
      const absl::Status status = options.Finish();
      if (!status.ok()) return status;
      return std::make_shared<OneScorer>();
    });
    registry_.Register("throws", [](ScorerOptions&, const ScorerContext&) -> absl::StatusOr<std::shared_ptr<Scorer>> {
      throw std::runtime_error("no model");
    });
    item_.set_height(1);
    item_.set_width(1);
    item_.set_image_rgb("rgb");
  }

  static v1::LoadScorerRequest Request(const std::string& name, const std::string& kind) {
    v1::LoadScorerRequest request;
    request.set_name(name);
    request.set_kind(kind);
    return request;
  }
  std::string Page() { return prometheus::TextSerializer().Serialize(metrics_.Collect()); }

  ScorerRegistry registry_;
  prometheus::Registry metrics_;
  v1::ScoreItem item_;
  ScorerHost host_{registry_, metrics_, {.threads = 2}};
};

TEST_F(ScorerHostTest, LoadsFindsListsAndUnloads) {
  const auto info = host_.Load(Request("", "one"));
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->name(), "one");
  const auto runner = host_.Find("one");
  ASSERT_TRUE(runner.ok());
  const v1::ScoreItem* pointer = &item_;
  ASSERT_TRUE((*runner)->Score({&pointer, 1}, absl::InfiniteFuture(), [] { return false; }).ok());
  const v1::ListScorersResponse list = host_.List();
  ASSERT_EQ(list.scorers_size(), 1);
  EXPECT_EQ(list.scorers(0).images_scored(), 1);
  EXPECT_EQ(list.scorers(0).version(), "one 1.0");
  EXPECT_EQ(list.available_kinds_size(), 2);
  EXPECT_TRUE(host_.Unload("one").ok());
  EXPECT_TRUE(absl::IsNotFound(host_.Find("one").status()));
  EXPECT_EQ(host_.List().scorers_size(), 0);
}

TEST_F(ScorerHostTest, SaysWhatIsWrongWithARequest) {
  ASSERT_TRUE(host_.Load(Request("a", "one")).ok());
  EXPECT_TRUE(absl::IsAlreadyExists(host_.Load(Request("a", "one")).status()));
  EXPECT_TRUE(absl::IsNotFound(host_.Load(Request("b", "two")).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(host_.Load(Request("a b", "one")).status()));
  EXPECT_TRUE(absl::IsInternal(host_.Load(Request("c", "throws")).status()));
  v1::LoadScorerRequest option = Request("d", "one");
  (*option.mutable_options())["x"] = "1";
  EXPECT_TRUE(absl::IsInvalidArgument(host_.Load(option).status()));
  EXPECT_TRUE(absl::IsNotFound(host_.Unload("b")));
  EXPECT_THAT(std::string(host_.Find("b").status().message()), HasSubstr("there are: a"));
  EXPECT_TRUE(host_.Load(Request("c", "one")).ok()) << "a failed load must not keep its name";
}

TEST_F(ScorerHostTest, ShowsItsScorersOnTheMetricsPage) {
  ASSERT_TRUE(host_.Load(Request("a", "one")).ok());
  const v1::ScoreItem* pointer = &item_;
  ASSERT_TRUE((*host_.Find("a"))->Score({&pointer, 1}, absl::InfiniteFuture(), [] { return false; }).ok());
  EXPECT_THAT(Page(), HasSubstr("flowawr_scored_images_total{outcome=\"reward\",scorer=\"a\"} 1"));
  EXPECT_THAT(Page(), HasSubstr("flowawr_scorer_queue_images{scorer=\"a\"} 0"));
  EXPECT_THAT(Page(), HasSubstr("flowawr_scoring_seconds_bucket{scorer=\"a\""));
  ASSERT_TRUE(host_.Unload("a").ok());
  EXPECT_THAT(Page(), Not(HasSubstr("flowawr_scorer_queue_images{")));
}

// Requests that meet a scorer as it goes end with all rewards or as if it were not there, never with part of them.
TEST_F(ScorerHostTest, LosesNothingWhenScorersComeAndGoUnderLoad) {
  ASSERT_TRUE(host_.Load(Request("stays", "one")).ok());
  std::atomic<bool> is_over = false;
  std::atomic<int> scored = 0;
  std::vector<std::thread> callers;
  for (const std::string name : {"stays", "comes_and_goes"}) {
    callers.emplace_back([&, name] {
      const std::vector<const v1::ScoreItem*> pointers(5, &item_);
      while (!is_over) {
        const auto runner = host_.Find(name);
        if (!runner.ok()) {
          EXPECT_NE(name, "stays");
          continue;
        }
        const auto results = (*runner)->Score(pointers, absl::InfiniteFuture(), [] { return false; });
        if (!results.ok()) {
          EXPECT_NE(name, "stays");
          EXPECT_TRUE(absl::IsFailedPrecondition(results.status()));
          continue;
        }
        for (const v1::ScoreResult& result : *results) EXPECT_EQ(result.reward(), 1);
        if (name != "stays") ++scored;
      }
    });
  }
  for (int round = 0; round < 30; ++round) {
    const int before = scored;
    ASSERT_TRUE(host_.Load(Request("comes_and_goes", "one")).ok());
    while (scored == before) std::this_thread::yield();
    ASSERT_TRUE(host_.Unload("comes_and_goes").ok());
  }
  is_over = true;
  for (std::thread& caller : callers) caller.join();
}

}  // namespace
}  // namespace flowawr
