#include "common/clip/clip_batch.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <vector>

namespace flowawr {
namespace {

const at::Device kDevice(at::kCUDA, 0);  // which need not be there

// As much as a batch of `most`; the sizes that were tried.
struct Memory {
  int most;
  std::vector<int> tried;

  absl::StatusOr<at::Tensor> Embed(int size) {
    tried.push_back(size);
    TORCH_CHECK_WITH(OutOfMemoryError, size <= most, "no room for ", size);
    return at::full({1}, size);
  }
};

TEST(ClipBatchTest, IsOneOnTheCpuWhateverIsWanted) {
  EXPECT_EQ(ClipBatch(0, at::kCPU, "").size(), 1);
  EXPECT_EQ(ClipBatch(16, at::kCPU, "").size(), 1);
}

TEST(ClipBatchTest, IsWhatIsWantedOnADevice) {
  EXPECT_EQ(ClipBatch(0, kDevice, "").size(), ClipBatch::kUsual);
  EXPECT_EQ(ClipBatch(1, kDevice, "").size(), 1);
  EXPECT_EQ(ClipBatch(64, kDevice, "").size(), 64);
}

TEST(ClipBatchTest, HalvesUntilItFitsAndStaysSo) {
  ClipBatch batch(24, kDevice, "pickscore");
  Memory memory{.most = 7};
  const auto embed = [&](int size) { return memory.Embed(size); };
  EXPECT_EQ(batch.WithinMemory(embed)->item<int>(), 6);
  EXPECT_EQ(batch.WithinMemory(embed)->item<int>(), 6);
  EXPECT_EQ(memory.tried, (std::vector<int>{24, 12, 6, 6}));
  EXPECT_EQ(batch.size(), 6);
}

TEST(ClipBatchTest, IsOfNoHelpWhereOneIsTooMany) {
  ClipBatch batch(8, kDevice, "pickscore");
  Memory memory{.most = 0};
  EXPECT_THROW((void)batch.WithinMemory([&](int size) { return memory.Embed(size); }), c10::OutOfMemoryError);
  EXPECT_EQ(memory.tried, (std::vector<int>{8, 4, 2, 1}));
}

TEST(ClipBatchTest, LeavesOtherErrorsAlone) {
  ClipBatch batch(8, kDevice, "pickscore");
  EXPECT_TRUE(absl::IsCancelled(
      batch.WithinMemory([](int) -> absl::StatusOr<at::Tensor> { return absl::CancelledError("gone"); }).status()));
  EXPECT_EQ(batch.size(), 8);
}

}  // namespace
}  // namespace flowawr
