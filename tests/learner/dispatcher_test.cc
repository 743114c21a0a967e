#include "learner/dispatcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/base/clock.h"

namespace flowawr {
namespace {

using ::testing::ElementsAre;

// Its rounds answer what was asked, once.
class Asker {
 public:
  void Ask(const std::string& what) {
    absl::MutexLock lock(&mutex_);
    asked_.push_back(what);
    dispatcher_.Wake();
  }
  std::vector<std::string> answered() {
    absl::MutexLock lock(&mutex_);
    return answered_;
  }
  void AwaitAnswers(size_t count) {
    const auto has = [this, count]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return answered_.size() >= count; };
    absl::MutexLock lock(&mutex_);
    EXPECT_TRUE(mutex_.AwaitWithTimeout(absl::Condition(&has), absl::Minutes(1)));
  }

 private:
  absl::Time Answer(Dispatcher::Answers& answers) {
    absl::MutexLock lock(&mutex_);
    for (const std::string& what : std::exchange(asked_, {})) {
      answers.push_back([this, what] {
        absl::MutexLock answering(&mutex_);  // which nobody holds now
        answered_.push_back(what);
      });
    }
    return absl::InfiniteFuture();
  }

  absl::Mutex mutex_;
  std::vector<std::string> asked_ ABSL_GUARDED_BY(mutex_), answered_ ABSL_GUARDED_BY(mutex_);
  Dispatcher dispatcher_{[this](Dispatcher::Answers& answers) { return Answer(answers); }};
};

TEST(DispatcherTest, AnswersInTheirOrderWithoutALock) {
  Asker asker;
  for (const char* what : {"a", "b", "c"}) asker.Ask(what);
  asker.AwaitAnswers(3);
  EXPECT_THAT(asker.answered(), ElementsAre("a", "b", "c"));
}

TEST(DispatcherTest, LooksAgainWhenSomethingFallsDueThoughNobodyWakesIt) {
  std::promise<void> due;
  const absl::Time when = MonotonicNow() + absl::Milliseconds(20);
  bool is_told = false;  // of the dispatcher's thread
  Dispatcher dispatcher([&](Dispatcher::Answers& answers) {
    if (is_told) return absl::InfiniteFuture();
    if (MonotonicNow() < when) return when;
    is_told = true;
    answers.push_back([&due] { due.set_value(); });
    return absl::InfiniteFuture();
  });
  EXPECT_EQ(due.get_future().wait_for(std::chrono::minutes(1)), std::future_status::ready);
  EXPECT_GE(MonotonicNow(), when);
}

// A part that stops wakes its dispatcher and destroys it at once: whatever the thread is at, it must end.
TEST(DispatcherTest, EndsWhateverItIsAtWhenItIsClosed) {
  for (int i = 0; i < 1000; ++i) {
    std::atomic<int> rounds = 0;
    auto dispatcher = std::make_unique<Dispatcher>([&rounds](Dispatcher::Answers&) {
      ++rounds;
      return absl::InfiniteFuture();
    });
    if (i % 2 == 0) dispatcher->Wake();
    dispatcher.reset();
    EXPECT_GE(rounds, 1);
  }
}

}  // namespace
}  // namespace flowawr
