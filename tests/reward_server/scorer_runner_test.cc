#include "reward_server/scorer_runner.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <limits>
#include <stdexcept>
#include <utility>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "common/base/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "prometheus/registry.h"
#include "tests/reward_server/asked.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;

// A scorer whose answers the test decides. The default reward is the item's height.
class ScriptedScorer : public Scorer {
 public:
  using Script = std::function<std::vector<v1::ScoreResult>(absl::Span<const v1::ScoreItem* const>)>;
  using PatientScript =
      std::function<std::vector<v1::ScoreResult>(absl::Span<const v1::ScoreItem* const>, StillWanted)>;
  explicit ScriptedScorer(int batch = 1, Script script = Heights, int parallel_calls = 1)
      : batch_(batch), parallel_calls_(parallel_calls), script_([script](auto items, StillWanted) {
          return script(items);
        }) {}
  explicit ScriptedScorer(PatientScript script) : batch_(1), parallel_calls_(1), script_(std::move(script)) {}

  std::vector<v1::ScoreResult> Score(absl::Span<const v1::ScoreItem* const> items,
                                     StillWanted still_wanted) override {
    {
      absl::MutexLock lock(&mutex_);
      batches_.push_back(items.size());
    }
    return script_(items, still_wanted);
  }
  static std::vector<v1::ScoreResult> Heights(absl::Span<const v1::ScoreItem* const> items) {
    std::vector<v1::ScoreResult> results;
    for (const v1::ScoreItem* item : items) results.push_back(RewardResult(item->height()));
    return results;
  }
  const std::string& version() const override { return version_; }
  int recommended_batch() const override { return batch_; }
  int parallel_calls() const override { return parallel_calls_; }
  std::vector<size_t> batches() {
    absl::MutexLock lock(&mutex_);
    return batches_;
  }

 private:
  const int batch_, parallel_calls_;
  const PatientScript script_;
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

constexpr absl::Duration kGrace = absl::Seconds(10);

class ScorerRunnerTest : public testing::Test {
 protected:
  std::unique_ptr<ScorerRunner> Run(std::shared_ptr<Scorer> scorer, RunnerOptions options = {}) {
    return std::make_unique<ScorerRunner>(std::move(scorer), metrics_.Add("s"), options);
  }

  prometheus::Registry registry_;
  ScoreMetrics metrics_{registry_};
};

TEST_F(ScorerRunnerTest, AnswersEveryItemInOrder) {
  const auto runner = Run(std::make_shared<ScriptedScorer>(3, ScriptedScorer::Heights, 3));
  const auto items = Items(20);
  const auto results = Asked(*runner, items).Wait();
  ASSERT_TRUE(results.ok());
  for (int i = 0; i < 20; ++i) EXPECT_EQ((*results)[i].reward(), i + 1);
  EXPECT_EQ(runner->Info().images_scored(), 20);
}

TEST_F(ScorerRunnerTest, BatchesAcrossRequests) {
  const auto scorer = std::make_shared<ScriptedScorer>(4);
  // Waits for ever for a batch to fill: only four single-image requests together get an answer.
  const auto runner = Run(scorer, {.max_wait = absl::Hours(1)});
  const auto items = Items(4);
  std::vector<std::thread> callers;
  for (const v1::ScoreItem& item : items) {
    callers.emplace_back([&runner, &item] {
      const auto results = Asked(*runner, {item}).Wait();
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
  EXPECT_TRUE(Asked(*runner, items).Wait().ok());
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
  std::thread first([&] { EXPECT_TRUE(Asked(*runner, items).Wait().ok()); });
  entered.WaitForNotification();
  std::thread second([&] {
    const auto results = Asked(*runner, more).Wait();
    ASSERT_TRUE(results.ok());
    for (int i = 0; i < 2; ++i) EXPECT_TRUE((*results)[i].has_reward());
    for (int i = 2; i < 5; ++i) EXPECT_EQ((*results)[i].error().kind(), v1::ScoreError::OVERLOADED);
  });
  while (runner->Info().errors() < 3) std::this_thread::yield();
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
  const auto results = Asked(*runner, items).Wait();
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
      const auto results = Asked(*runner, items).Wait();
      ASSERT_TRUE(results.ok());
      EXPECT_EQ((*results)[0].error().kind(), v1::ScoreError::BROKEN);
    }
    EXPECT_EQ(runner->Info().errors(), 2);
    EXPECT_EQ(runner->Info().images_scored(), 0);
  }
}

TEST_F(ScorerRunnerTest, TellsOfADeviceThatFailedAndOfNoOtherException) {
  std::string what = "a bug";
  absl::Status told;
  RunnerOptions options{.device = "cuda:1"};
  options.device_error = [](const std::string& device) -> absl::Status {
    try {
      throw;
    } catch (const std::runtime_error& error) {
      return error.what() == std::string("lost") ? absl::AbortedError(device + " lost") : absl::OkStatus();
    }
  };
  options.on_device_error = [&told](const absl::Status& status) { told = status; };
  const ScriptedScorer::Script script = [&what](auto) -> std::vector<v1::ScoreResult> {
    throw std::runtime_error(what);
  };
  const auto runner = Run(std::make_shared<ScriptedScorer>(1, script), options);
  const auto items = Items(1);
  ASSERT_TRUE(Asked(*runner, items).Wait().ok());
  EXPECT_TRUE(told.ok());
  what = "lost";
  ASSERT_TRUE(Asked(*runner, items).Wait().ok());
  EXPECT_EQ(told, absl::AbortedError("cuda:1 lost"));
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
  std::thread first([&] { EXPECT_TRUE(Asked(*runner, items).Wait().ok()); });
  entered.WaitForNotification();
  EXPECT_TRUE(absl::IsDeadlineExceeded(Asked(*runner, late, MonotonicNow()).Wait().status()));
  Asked gone(*runner, late);
  gone.Cancel();
  EXPECT_TRUE(absl::IsCancelled(gone.Wait().status()));
  EXPECT_EQ(runner->Info().queued_images(), 0);
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
    const auto results = Asked(*runner, items).Wait();
    ASSERT_TRUE(results.ok()) << results.status();
    EXPECT_EQ((*results)[4].reward(), 5);
  });
  entered.WaitForNotification();
  while (runner->Info().queued_images() < 4) std::this_thread::yield();
  std::thread stopper([&] { runner->Stop(kGrace); });
  release.Notify();
  stopper.join();
  caller.join();
  EXPECT_TRUE(absl::IsFailedPrecondition(Asked(*runner, items).Wait().status()));
}

// Works until it is told that nobody wants the result.
std::shared_ptr<ScriptedScorer> Endless(absl::Notification* entered = nullptr) {
  return std::make_shared<ScriptedScorer>([entered](auto items, StillWanted still_wanted) {
    if (entered != nullptr && !entered->HasBeenNotified()) entered->Notify();
    while (still_wanted(0).ok()) std::this_thread::yield();
    return std::vector<v1::ScoreResult>(items.size(),
                                        ErrorResult(v1::ScoreError::BROKEN, std::string(still_wanted(0).message())));
  });
}

TEST_F(ScorerRunnerTest, EndsWhatIsUnderWayWhenTheCallerWaitsNoLonger) {
  absl::Notification entered;
  const auto runner = Run(Endless(&entered));
  const auto items = Items(1);
  EXPECT_TRUE(absl::IsDeadlineExceeded(Asked(*runner, items, MonotonicNow() + absl::Milliseconds(50)).Wait().status()));
  entered.WaitForNotification();
  Asked gone(*runner, items);
  gone.Cancel();
  EXPECT_TRUE(absl::IsCancelled(gone.Wait().status()));
}

TEST_F(ScorerRunnerTest, ACallThatSeesTheCallerGoBeforeTheWatchDoesIsCancelledToo) {
  absl::Notification entered, release;
  const auto runner = Run(std::make_shared<ScriptedScorer>([&](auto items, StillWanted) {
    entered.Notify();
    release.WaitForNotification();
    return ScriptedScorer::Heights(items);
  }));
  Asked gone(*runner, Items(1));
  entered.WaitForNotification();
  gone.Cancel();
  release.Notify();
  EXPECT_TRUE(absl::IsCancelled(gone.Wait().status()));
}

TEST_F(ScorerRunnerTest, AnImageThatTakesTooLongIsBroken) {
  const auto runner = Run(Endless(), {.max_image_time = absl::Milliseconds(10)});
  const auto items = Items(1);
  const auto results = Asked(*runner, items).Wait();
  ASSERT_TRUE(results.ok());
  EXPECT_EQ((*results)[0].error().kind(), v1::ScoreError::BROKEN);
  EXPECT_THAT((*results)[0].error().message(), HasSubstr("10ms (--max-image-seconds"));
}

TEST_F(ScorerRunnerTest, StopsAfterItsGraceWhateverIsUnderWay) {
  absl::Notification entered;
  const auto runner = Run(Endless(&entered), {.max_image_time = absl::Hours(1)});
  const auto items = Items(3);
  std::thread caller([&] {
    EXPECT_TRUE(absl::IsFailedPrecondition(Asked(*runner, items).Wait().status()));
  });
  entered.WaitForNotification();
  runner->Stop(absl::Milliseconds(10));
  EXPECT_FALSE(runner->has_left_a_call());
  caller.join();
}

TEST_F(ScorerRunnerTest, RequestsTakeTurns) {
  absl::Notification entered, release;
  absl::Mutex mutex;
  std::vector<uint32_t> order;
  const auto runner = Run(std::make_shared<ScriptedScorer>(1, [&](auto items) {
    if (!entered.HasBeenNotified()) {
      entered.Notify();
      release.WaitForNotification();
    }
    absl::MutexLock lock(&mutex);
    order.push_back(items[0]->height());
    return ScriptedScorer::Heights(items);
  }));
  const auto large = Items(20);
  const auto small = std::vector<v1::ScoreItem>{Items(30)[29]};
  std::thread first([&] { EXPECT_TRUE(Asked(*runner, large).Wait().ok()); });
  entered.WaitForNotification();
  std::thread second([&] { EXPECT_TRUE(Asked(*runner, small).Wait().ok()); });
  while (runner->Info().queued_images() < 20) std::this_thread::yield();
  release.Notify();
  first.join();
  second.join();
  EXPECT_LE(std::find(order.begin(), order.end(), 30) - order.begin(), 8);
}

TEST_F(ScorerRunnerTest, HoldsEveryAnswerToItsBounds) {
  v1::ScoreResult wordy = ErrorResult(v1::ScoreError::BAD_INPUT, std::string(100'000, '\xC3'));
  for (int i = 0; i < 100; ++i) (*wordy.mutable_details())[std::to_string(i)] = "caf\xE9" + std::string(5000, 'x');
  const auto runner = Run(std::make_shared<ScriptedScorer>(1, [&](auto items) {
    return std::vector<v1::ScoreResult>{items[0]->height() == 1 ? RewardResult(1e200) : wordy};
  }));
  const auto items = Items(2);
  const auto results = Asked(*runner, items).Wait();
  ASSERT_TRUE(results.ok());
  EXPECT_EQ((*results)[0].error().kind(), v1::ScoreError::BROKEN);
  EXPECT_THAT((*results)[0].error().message(), HasSubstr("1e+200"));
  EXPECT_EQ((*results)[1].error().kind(), v1::ScoreError::BAD_INPUT);
  EXPECT_LE((*results)[1].ByteSizeLong(), 20'000);
  v1::ScoreResult parsed;
  EXPECT_TRUE(parsed.ParseFromString((*results)[1].SerializeAsString()));
}

TEST_F(ScorerRunnerTest, RefusesImagesAndTextsThatAreTooLarge) {
  const auto runner = Run(std::make_shared<ScriptedScorer>(), {.max_side = 2});
  auto items = Items(4);
  items[0].set_prompt(std::string(100'000, 'x'));
  (*items[1].mutable_metadata())["target"] = std::string(100'000, 'x');
  items[3].set_height(2);
  items[3].set_image_rgb(std::string(6, 'x'));
  const auto results = Asked(*runner, items).Wait();
  ASSERT_TRUE(results.ok());
  for (int i = 0; i < 3; ++i) EXPECT_EQ((*results)[i].error().kind(), v1::ScoreError::BAD_INPUT) << i;
  EXPECT_THAT((*results)[2].error().message(), HasSubstr("at most 2 a side"));
  EXPECT_EQ((*results)[3].reward(), 2);
}

// Does not return, whatever it is told, until it is released.
struct Deaf {
  absl::Notification entered, release;
  std::shared_ptr<ScriptedScorer> scorer = std::make_shared<ScriptedScorer>(1, [this](auto items) {
    if (items[0]->height() != 1) return ScriptedScorer::Heights(items);
    if (!entered.HasBeenNotified()) entered.Notify();
    release.WaitForNotification();
    return ScriptedScorer::Heights(items);
  });
};
// Not so soon that a call which a busy machine holds up for a moment is taken for one that never returns.
const RunnerOptions kSoonStuck = {.max_image_time = absl::Milliseconds(10), .stuck_after = absl::Milliseconds(500)};

TEST_F(ScorerRunnerTest, AScorerThatDoesNotReturnIsStuckUntilItDoes) {
  Deaf deaf;
  absl::Notification stuck, well;
  const auto runner = std::make_unique<ScorerRunner>(deaf.scorer, metrics_.Add("s"), kSoonStuck, [&](bool is_healthy) {
    (is_healthy ? well : stuck).Notify();
  });
  Asked under_way(*runner, Items(3));  // the first is at work, the others wait
  const auto lost = under_way.Wait();
  ASSERT_TRUE(lost.ok());
  for (const v1::ScoreResult& result : *lost) EXPECT_EQ(result.error().kind(), v1::ScoreError::BROKEN);
  stuck.WaitForNotification();
  EXPECT_EQ(runner->Info().health(), v1::ScorerInfo::STUCK);
  EXPECT_THAT(runner->Info().health_message(), HasSubstr("has not returned"));
  const auto refused = Asked(*runner, Items(2)).Wait();
  ASSERT_TRUE(refused.ok());
  EXPECT_EQ((*refused)[1].error().kind(), v1::ScoreError::BROKEN);
  deaf.release.Notify();
  well.WaitForNotification();
  EXPECT_EQ(runner->Info().health(), v1::ScorerInfo::HEALTHY);
  const auto scored = Asked(*runner, Items(2)).Wait();
  ASSERT_TRUE(scored.ok());
  EXPECT_EQ((*scored)[1].reward(), 2);
  EXPECT_EQ(runner->Info().images_scored(), 2) << "what came after its end must not count";
}

TEST_F(ScorerRunnerTest, StopsThoughACallNeverReturnsAndFreesTheScorerWhenItDoes) {
  auto deaf = std::make_unique<Deaf>();
  const std::weak_ptr<Scorer> scorer = deaf->scorer;
  {
    const auto runner = Run(std::move(deaf->scorer), kSoonStuck);
    const auto lost = Asked(*runner, Items(1)).Wait();
    ASSERT_TRUE(lost.ok());
    const absl::Time start = MonotonicNow();
    runner->Stop(kGrace);
    EXPECT_LT(MonotonicNow() - start, kGrace / 2);
    EXPECT_TRUE(runner->has_left_a_call());
  }
  EXPECT_FALSE(scorer.expired()) << "its call is still at it";
  deaf->release.Notify();
  while (!scorer.expired()) std::this_thread::yield();
}

TEST_F(ScorerRunnerTest, TellsWhenThereWillBeRoom) {
  std::atomic<bool> is_slow = false;
  absl::Notification entered, release;
  const auto runner = Run(std::make_shared<ScriptedScorer>(1,
                                                           [&](auto items) {
                                                             if (!is_slow) {
                                                               absl::SleepFor(absl::Milliseconds(20));
                                                             } else if (!entered.HasBeenNotified()) {
                                                               entered.Notify();
                                                               release.WaitForNotification();
                                                             }
                                                             return ScriptedScorer::Heights(items);
                                                           }),
                          {.max_queued_images = 10});
  ASSERT_TRUE(Asked(*runner, Items(5)).Wait().ok());  // now it is known how long an image takes
  is_slow = true;
  Asked at_work(*runner, Items(1));
  entered.WaitForNotification();
  Asked waiting(*runner, Items(10)), refused(*runner, Items(1));
  const auto results = refused.Wait();
  ASSERT_TRUE(results.ok());
  EXPECT_EQ((*results)[0].error().kind(), v1::ScoreError::OVERLOADED);
  // Half of ten images, of 20 ms each: how much longer depends on the machine.
  EXPECT_GT((*results)[0].error().retry_after_s(), 0.09);
  EXPECT_LT((*results)[0].error().retry_after_s(), 10);
  release.Notify();
  EXPECT_TRUE(waiting.Wait().ok());
}

TEST_F(ScorerRunnerTest, GivesBatchesAsLargeAsTheOptionsSay) {
  const auto scorer = std::make_shared<ScriptedScorer>(64);
  const auto runner = Run(scorer, {.largest_batch = 4, .max_wait = absl::Hours(1)});
  EXPECT_EQ(runner->Info().largest_batch(), 4);
  ASSERT_TRUE(Asked(*runner, Items(8)).Wait().ok());
  EXPECT_EQ(scorer->batches(), (std::vector<size_t>{4, 4}));
}

}  // namespace
}  // namespace flowawr
