#include "common/base/bounded_queue.h"

#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "gtest/gtest.h"

namespace flowawr {
namespace {

TEST(BoundedQueue, HandsOutInOrder) {
  BoundedQueue<int> queue(3);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(queue.Push(int{i}));
  EXPECT_EQ(queue.size(), 3);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(queue.Pop(), i);
}

TEST(BoundedQueue, RefusesAtOnceWhenFullAndLeavesTheItem) {
  BoundedQueue<std::unique_ptr<int>> queue(1);
  auto first = std::make_unique<int>(1), second = std::make_unique<int>(2);
  EXPECT_TRUE(queue.TryPush(std::move(first)));
  EXPECT_FALSE(queue.TryPush(std::move(second)));
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(*second, 2);
}

TEST(BoundedQueue, NeverHoldsMoreThanItsCapacityBetweenThreads) {
  BoundedQueue<int> queue(2);
  constexpr int kItems = 2000;
  std::thread producer([&] {
    for (int i = 0; i < kItems; ++i) EXPECT_TRUE(queue.Push(int{i}));
    queue.Close();
  });
  int expected = 0;
  while (const auto item = queue.Pop()) {
    EXPECT_EQ(*item, expected++);
    EXPECT_LE(queue.size(), 2);
  }
  EXPECT_EQ(expected, kItems);
  producer.join();
}

TEST(BoundedQueue, CloseWakesThoseWhoWait) {
  BoundedQueue<int> empty(1), full(1);
  ASSERT_TRUE(full.Push(1));
  std::thread popper([&] { EXPECT_EQ(empty.Pop(), std::nullopt); });
  std::thread pusher([&] { EXPECT_FALSE(full.Push(2)); });
  empty.Close();
  full.Close();
  popper.join();
  pusher.join();
}

TEST(BoundedQueue, HandsOutWhatIsLeftAfterClose) {
  BoundedQueue<int> queue(2);
  ASSERT_TRUE(queue.Push(1));
  queue.Close();
  EXPECT_FALSE(queue.Push(2));
  EXPECT_FALSE(queue.TryPush(3));
  EXPECT_EQ(queue.Pop(), 1);
  EXPECT_EQ(queue.Pop(), std::nullopt);
}

TEST(BoundedQueue, PopGivesUpAfterItsTimeout) {
  BoundedQueue<int> queue(1);
  EXPECT_EQ(queue.PopWithTimeout(absl::Milliseconds(1)), std::nullopt);
  ASSERT_TRUE(queue.Push(1));
  EXPECT_EQ(queue.PopWithTimeout(absl::ZeroDuration()), 1);
}

}  // namespace
}  // namespace flowawr
