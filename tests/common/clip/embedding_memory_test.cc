#include "common/clip/embedding_memory.h"

#include <gmock/gmock.h>
#include <torch/types.h>

#include <stdexcept>
#include <thread>

#include "absl/synchronization/notification.h"

namespace flowawr {
namespace {

using Keys = std::vector<std::string>;

// Rows that hold the lengths of their keys, and a record of what was asked for.
struct Lengths {
  absl::StatusOr<at::Tensor> Get(EmbeddingMemory& memory, const Keys& keys) {
    return memory.Get(keys, [&](absl::Span<const size_t> indices) -> absl::StatusOr<at::Tensor> {
      at::Tensor rows = at::empty({static_cast<int64_t>(indices.size()), 2});
      for (size_t i = 0; i < indices.size(); ++i) {
        asked.push_back(keys[indices[i]]);
        rows[static_cast<int64_t>(i)].fill_(static_cast<double>(keys[indices[i]].size()));
      }
      return rows;
    });
  }
  Keys asked;
};

std::vector<float> FirstColumn(const at::Tensor& rows) {
  const at::Tensor column = rows.select(1, 0).contiguous();
  return {column.const_data_ptr<float>(), column.const_data_ptr<float>() + column.numel()};
}

TEST(EmbeddingMemoryTest, ComputesEveryKeyOnce) {
  EmbeddingMemory memory(10);
  Lengths lengths;
  EXPECT_THAT(FirstColumn(*lengths.Get(memory, {"a", "bbb", "a", "cc"})), testing::ElementsAre(1, 3, 1, 2));
  EXPECT_THAT(FirstColumn(*lengths.Get(memory, {"cc", "dddd", "bbb"})), testing::ElementsAre(2, 4, 3));
  EXPECT_THAT(lengths.asked, testing::ElementsAre("a", "bbb", "cc", "dddd"));
  EXPECT_EQ(memory.computed(), 4);
}

TEST(EmbeddingMemoryTest, ForgetsWhatWasNotAskedForTheLongest) {
  EmbeddingMemory memory(2);
  Lengths lengths;
  for (const char* key : {"a", "b", "a", "c"}) ASSERT_TRUE(lengths.Get(memory, {key}).ok());
  EXPECT_EQ(memory.size(), 2u);
  lengths.asked.clear();
  for (const char* key : {"a", "c", "b"}) ASSERT_TRUE(lengths.Get(memory, {key}).ok());
  EXPECT_THAT(lengths.asked, testing::ElementsAre("b"));
}

TEST(EmbeddingMemoryTest, ABatchMayBeLargerThanTheMemory) {
  EmbeddingMemory memory(1);
  Lengths lengths;
  EXPECT_THAT(FirstColumn(*lengths.Get(memory, {"a", "bb", "a", "ccc", "bb"})), testing::ElementsAre(1, 2, 1, 3, 2));
  EXPECT_EQ(memory.size(), 1u);
}

// Begins to compute `key` on another thread and is held there until End() is called.
class HeldComputation {
 public:
  HeldComputation(EmbeddingMemory& memory, const std::string& key, absl::Status error)
      : thread_([this, &memory, key, error] {
          const Keys keys = {key};
          result_ = memory.Get(keys, [&](absl::Span<const size_t>) -> absl::StatusOr<at::Tensor> {
            has_begun_.Notify();
            may_end_.WaitForNotification();
            if (!error.ok()) return error;
            return at::full({1, 2}, 7.f);
          });
        }) {
    has_begun_.WaitForNotification();
  }
  absl::StatusOr<at::Tensor> End() {
    may_end_.Notify();
    thread_.join();
    return result_;
  }

 private:
  absl::Notification has_begun_, may_end_;
  absl::StatusOr<at::Tensor> result_;
  std::thread thread_;
};

TEST(EmbeddingMemoryTest, WaitsForWhatAnotherThreadComputesAndComputesTheRestMeanwhile) {
  EmbeddingMemory memory(10);
  HeldComputation held(memory, "shared", absl::OkStatus());
  absl::Notification has_computed_own;
  std::vector<float> got;
  std::thread waiter([&] {
    const Keys keys = {"shared", "own"};
    const auto rows = memory.Get(keys, [&](absl::Span<const size_t> indices) -> absl::StatusOr<at::Tensor> {
      EXPECT_THAT(indices, testing::ElementsAre(1u));
      has_computed_own.Notify();
      return at::full({1, 2}, 8.f);
    });
    got = FirstColumn(*rows);
  });
  has_computed_own.WaitForNotification();
  EXPECT_TRUE(held.End().ok());
  waiter.join();
  EXPECT_THAT(got, testing::ElementsAre(7, 8));
  EXPECT_EQ(memory.computed(), 2);
}

TEST(EmbeddingMemoryTest, AnErrorIsItsCallersAlone) {
  EmbeddingMemory memory(10);
  HeldComputation held(memory, "shared", absl::CancelledError("gone"));
  std::vector<float> got;
  std::thread waiter([&] {
    Lengths lengths;
    got = FirstColumn(*lengths.Get(memory, {"shared"}));
  });
  EXPECT_EQ(held.End().status(), absl::CancelledError("gone"));
  waiter.join();
  EXPECT_THAT(got, testing::ElementsAre(6));
}

TEST(EmbeddingMemoryTest, AnExceptionLeavesNothingClaimed) {
  EmbeddingMemory memory(10);
  const Keys keys = {"a"};
  EXPECT_THROW((void)memory.Get(keys,
                                [](absl::Span<const size_t>) -> absl::StatusOr<at::Tensor> {
                                  throw std::runtime_error("out of memory");
                                }),
               std::runtime_error);
  Lengths lengths;
  EXPECT_TRUE(lengths.Get(memory, keys).ok());
}

}  // namespace
}  // namespace flowawr
