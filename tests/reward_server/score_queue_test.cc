#include "reward_server/score_queue.h"

#include "common/base/clock.h"
#include "gtest/gtest.h"
#include "tests/reward_server/asked.h"

namespace flowawr {
namespace {

std::shared_ptr<ScoreTask> TaskOf(int images, absl::Time deadline = absl::InfiniteFuture(),
                                  ScoreTask::Done done = [](auto) {}) {
  return std::make_shared<ScoreTask>(RequestFor(std::vector<v1::ScoreItem>(images)), deadline, std::move(done));
}

const auto kNothingWrong = [](const v1::ScoreItem&) -> std::unique_ptr<v1::ScoreResult> { return nullptr; };
const auto kNoRoom = [] { return ErrorResult(v1::ScoreError::OVERLOADED, "full"); };

TEST(ScoreQueueTest, TasksTakeTurns) {
  ScoreQueue queue(100);
  const auto large = TaskOf(20), usual = TaskOf(8), small = TaskOf(1);
  for (const auto& task : {large, usual, small}) queue.Add(task, kNothingWrong, kNoRoom);
  std::string order;
  while (queue.queued_images() > 0)  // whatever the sizes of batches
    for (const auto& entry : queue.Take(3, MonotonicNow()))
      order += entry.task == large ? 'L' : entry.task == usual ? 'u' : 's';
  EXPECT_EQ(order, "LLLLLLLLuuuuuuuusLLLLLLLLLLLL");
}

TEST(ScoreQueueTest, SettlesAtOnceWhatFindsNoRoom) {
  ScoreQueue queue(2);
  std::vector<v1::ScoreResult> results;
  queue.Add(TaskOf(3, absl::InfiniteFuture(), [&](auto answer) { results = *answer; }), kNothingWrong, kNoRoom);
  EXPECT_EQ(queue.queued_images(), 2);
  for (const auto& entry : queue.Take(2, MonotonicNow())) queue.Settle(entry, RewardResult(1));
  EXPECT_TRUE(queue.is_empty());
  queue.TakeEnded().Tell();
  ASSERT_EQ(results.size(), 3);
  EXPECT_EQ(results[1].reward(), 1);
  EXPECT_EQ(results[2].error().message(), "full");
}

TEST(ScoreQueueTest, GivesNoImageOfATaskThatIsTooLateOrCancelled) {
  ScoreQueue queue(100);
  const absl::Time now = MonotonicNow();
  const auto late = TaskOf(2, now), cancelled = TaskOf(2), wanted = TaskOf(1);
  for (const auto& task : {late, cancelled, wanted}) queue.Add(task, kNothingWrong, kNoRoom);
  cancelled->Cancel();
  const auto taken = queue.Take(10, now);
  ASSERT_EQ(taken.size(), 1);
  EXPECT_EQ(taken[0].task, wanted);
  EXPECT_EQ(queue.queued_images(), 0);
  EXPECT_EQ(queue.TakeEnded().tasks().size(), 2);
}

TEST(ScoreQueueTest, DropsWhatComesForATaskThatIsOver) {
  ScoreQueue queue(100);
  int answers = 0;
  absl::Status status;
  queue.Add(TaskOf(2, absl::InfiniteFuture(),
                   [&](auto answer) {
                     ++answers;
                     status = answer.status();
                   }),
            kNothingWrong, kNoRoom);
  const auto taken = queue.Take(1, MonotonicNow());
  queue.EndAll(absl::FailedPreconditionError("unloaded"));
  EXPECT_EQ(queue.queued_images(), 0);
  queue.Settle(taken[0], RewardResult(1));
  queue.TakeEnded().Tell();
  queue.TakeEnded().Tell();
  EXPECT_EQ(answers, 1);
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
}

}  // namespace
}  // namespace flowawr
