#include "reward_server/scorer_runner.h"

#include <atomic>
#include <functional>
#include <limits>
#include <stdexcept>
#include <utility>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "prometheus/registry.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;

// A scorer whose answers the test decides. The default reward is the item's height.
class ScriptedScorer : public Scorer {
 public:
  using Script = std::function<std::vector<v1::ScoreResult>(absl::Span<const v1::ScoreItem* const>)>;
  explicit ScriptedScorer(int batch = 1, Script script = Heights) : batch_(batch), script_(std::move(script)) {}

  std::vector<v1::ScoreResult> Score(absl::Span<const v1::ScoreItem* const> items) override {
    {
      absl::MutexLock lock(&mutex_);
      batches_.push_back(items.size());
    }
    return script_(items);
  }
  static std::vector<v1::ScoreResult> Heights(absl::Span<const v1::ScoreItem* const> items) {
    std::vector<v1::ScoreResult> results;
    for (const v1::ScoreItem* item : items) results.push_back(RewardResult(item->height()));
    return results;
  }
  const std::string& version() const override { return version_; }
  int recommended_batch() const override { return batch_; }
  std::vector<size_t> batches() {
    absl::MutexLock lock(&mutex_);
    return batches_;
  }

 private:
  const int batch_;
  const Script script_;
  const std::string version_ = "scripted";
  absl::Mutex mutex_;
  std::vector<size_t> batches_ ABSL_GUARDED_BY(mutex_);
};

std::vector<v1::ScoreItem> Items(int count) {
  std::vector<v1::ScoreItem> items(count);
  for (int i = 0; i < count; ++i) {
    items[i].set_height(i + 1);
    items[i].set_width(1);
    items[i].set_image_rgb(std::string(3 * (i + 1), 'x'));
  }
  return items;
}

std::vector<const v1::ScoreItem*> Pointers(const std::vector<v1::ScoreItem>& items) {
  std::vector<const v1::ScoreItem*> pointers;
  for (const v1::ScoreItem& item : items) pointers.push_back(&item);
  return pointers;
}

const auto kStays = [] { return false; };

class ScorerRunnerTest : public testing::Test {
 protected:
  std::unique_ptr<ScorerRunner> Run(std::shared_ptr<Scorer> scorer, RunnerOptions options = {}) {
    return std::make_unique<ScorerRunner>(std::move(scorer), metrics_.Add("s"), options);
  }

  prometheus::Registry registry_;
  ScoreMetrics metrics_{registry_};
};

TEST_F(ScorerRunnerTest, AnswersEveryItemInOrder) {
  const auto runner = Run(std::make_shared<ScriptedScorer>(3), {.threads = 3});
  const auto items = Items(20);
  const auto results = runner->Score(Pointers(items), absl::InfiniteFuture(), kStays);
  ASSERT_TRUE(results.ok());
  for (int i = 0; i < 20; ++i) EXPECT_EQ((*results)[i].reward(), i + 1);
  EXPECT_EQ(runner->images_scored(), 20);
}

TEST_F(ScorerRunnerTest, BatchesAcrossRequests) {
  const auto scorer = std::make_shared<ScriptedScorer>(4);
  // Waits for ever for a batch to fill: only four single-image requests together get an answer.
  const auto runner = Run(scorer, {.max_wait = absl::Hours(1)});
  const auto items = Items(4);
  std::vector<std::thread> callers;
  for (const v1::ScoreItem& item : items) {
    callers.emplace_back([&runner, &item] {
      const v1::ScoreItem* pointer = &item;
      const auto results = runner->Score({&pointer, 1}, absl::InfiniteFuture(), kStays);
      ASSERT_TRUE(results.ok());
      EXPECT_EQ((*results)[0].reward(), item.height());
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(scorer->batches(), (std::vector<size_t>{4}));
}

TEST_F(ScorerRunnerTest, ScoresAPartialBatchAfterTheWait) {
  const auto runner = Run(std::make_shared<ScriptedScorer>(64), {.max_wait = absl::Milliseconds(1)});
  const auto items = Items(3);
  EXPECT_TRUE(runner->Score(Pointers(items), absl::InfiniteFuture(), kStays).ok());
}

TEST_F(ScorerRunnerTest, TellsImagesWithoutRoomThatItIsOverloaded) {
  absl::Notification entered, release;
  const auto runner = Run(std::make_shared<ScriptedScorer>(1,
                                                           [&](auto items) {
                                                             if (!entered.HasBeenNotified()) entered.Notify();
                                                             release.WaitForNotification();
                                                             return ScriptedScorer::Heights(items);
                                                           }),
                          {.max_queued_images = 2});
  const auto items = Items(1), more = Items(5);
  std::thread first([&] { EXPECT_TRUE(runner->Score(Pointers(items), absl::InfiniteFuture(), kStays).ok()); });
  entered.WaitForNotification();
  std::thread second([&] {
    const auto results = runner->Score(Pointers(more), absl::InfiniteFuture(), kStays);
    ASSERT_TRUE(results.ok());
    for (int i = 0; i < 2; ++i) EXPECT_TRUE((*results)[i].has_reward());
    for (int i = 2; i < 5; ++i) EXPECT_EQ((*results)[i].error().kind(), v1::ScoreError::OVERLOADED);
  });
  while (runner->errors() < 3) std::this_thread::yield();
  release.Notify();
  first.join();
  second.join();
}

TEST_F(ScorerRunnerTest, RefusesMalformedImagesWithoutBotheringTheScorer) {
  const auto scorer = std::make_shared<ScriptedScorer>();
  const auto runner = Run(scorer);
  std::vector<v1::ScoreItem> items = Items(4);
  items[0].set_height(0);
  items[1].set_image_rgb("short");
  items[2].set_height(0xffffffff);
  items[2].set_width(0xffffffff);
  const auto results = runner->Score(Pointers(items), absl::InfiniteFuture(), kStays);
  ASSERT_TRUE(results.ok());
  for (int i = 0; i < 3; ++i) EXPECT_EQ((*results)[i].error().kind(), v1::ScoreError::BAD_INPUT) << i;
  EXPECT_THAT((*results)[1].error().message(), HasSubstr("5 bytes"));
  EXPECT_EQ((*results)[3].reward(), 4);
  EXPECT_EQ(scorer->batches().size(), 1);
}

TEST_F(ScorerRunnerTest, AnswersBrokenForWhateverAScorerDoesWrong) {
  const std::vector<ScriptedScorer::Script> scripts = {
      [](auto) -> std::vector<v1::ScoreResult> { throw std::runtime_error("out of paper"); },
      [](auto) -> std::vector<v1::ScoreResult> { throw 7; },
      [](auto) { return std::vector<v1::ScoreResult>{}; },
      [](auto) { return std::vector<v1::ScoreResult>{RewardResult(std::numeric_limits<double>::quiet_NaN())}; },
      [](auto) { return std::vector<v1::ScoreResult>{RewardResult(std::numeric_limits<double>::infinity())}; },
      [](auto) { return std::vector<v1::ScoreResult>(1); },
  };
  const auto items = Items(1);
  for (const auto& script : scripts) {
    const auto runner = Run(std::make_shared<ScriptedScorer>(1, script));
    for (int again = 0; again < 2; ++again) {
      const auto results = runner->Score(Pointers(items), absl::InfiniteFuture(), kStays);
      ASSERT_TRUE(results.ok());
      EXPECT_EQ((*results)[0].error().kind(), v1::ScoreError::BROKEN);
    }
    EXPECT_EQ(runner->errors(), 2);
    EXPECT_EQ(runner->images_scored(), 0);
  }
}

TEST_F(ScorerRunnerTest, NeverComputesWhatIsTooLateOrNoLongerWanted) {
  absl::Notification entered, release;
  const auto scorer = std::make_shared<ScriptedScorer>(1, [&](auto items) {
    if (!entered.HasBeenNotified()) entered.Notify();
    release.WaitForNotification();
    return ScriptedScorer::Heights(items);
  });
  const auto runner = Run(scorer);
  const auto items = Items(1), late = Items(3);
  std::thread first([&] { EXPECT_TRUE(runner->Score(Pointers(items), absl::InfiniteFuture(), kStays).ok()); });
  entered.WaitForNotification();
  EXPECT_TRUE(absl::IsDeadlineExceeded(runner->Score(Pointers(late), absl::Now(), kStays).status()));
  EXPECT_TRUE(absl::IsCancelled(runner->Score(Pointers(late), absl::InfiniteFuture(), [] { return true; }).status()));
  EXPECT_EQ(runner->queued_images(), 0);
  release.Notify();
  first.join();
  EXPECT_EQ(scorer->batches().size(), 1);
}

TEST_F(ScorerRunnerTest, FinishesWhatIsQueuedWhenStopped) {
  absl::Notification entered, release;
  const auto runner = Run(std::make_shared<ScriptedScorer>(1, [&](auto items) {
    if (!entered.HasBeenNotified()) entered.Notify();
    release.WaitForNotification();
    return ScriptedScorer::Heights(items);
  }));
  const auto items = Items(5);
  std::thread caller([&] {
    const auto results = runner->Score(Pointers(items), absl::InfiniteFuture(), kStays);
    ASSERT_TRUE(results.ok()) << results.status();
    EXPECT_EQ((*results)[4].reward(), 5);
  });
  entered.WaitForNotification();
  while (runner->queued_images() < 4) std::this_thread::yield();
  std::thread stopper([&] { runner->Stop(); });
  release.Notify();
  stopper.join();
  caller.join();
  EXPECT_TRUE(absl::IsFailedPrecondition(runner->Score(Pointers(items), absl::InfiniteFuture(), kStays).status()));
}

}  // namespace
}  // namespace flowawr
