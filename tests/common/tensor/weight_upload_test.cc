#include "common/tensor/weight_upload.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include "common/tensor/convert.h"
#include "common/tensor/safetensors.h"
#include "tests/testing/fake_device/fake_device.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using fake_device::TakeCounts;

const at::Device kFake = fake_device::Device();
constexpr int64_t kBuffer = WeightUpload::kBufferBytes;

at::Tensor Numbers(int64_t count) { return at::arange(count, at::kFloat).mul_(0.37).sin_(); }

// Of 1 to 8 bytes a value: buffers end in the middle of a tensor, and hold the ends of several.
TEST(WeightUploadTest, GivesWhatLibTorchGivesForEveryTypeInAnyOrder) {
  WeightUpload upload(kFake);
  for (const int64_t count : {int64_t{3}, kBuffer / 8 * 3 + 1, int64_t{1}, kBuffer / 4}) {
    for (const at::ScalarType from : {at::kDouble, at::kFloat8_e4m3fn, at::kFloat, at::kHalf, at::kBFloat16}) {
      for (const at::ScalarType to : {at::kFloat, at::kBFloat16}) {
        const at::Tensor source = Numbers(count).to(from), weight = EmptyWeight({count}, {to, kFake});
        upload.Copy(weight, source);
        EXPECT_TRUE(weight.to(at::kCPU).equal(source.to(to)))
            << count << " " << c10::toString(from) << " to " << c10::toString(to);
      }
    }
  }
}

TEST(WeightUploadTest, FillsPartOfAStackAndNothingElse) {
  WeightUpload upload(kFake);
  const at::Tensor stack = at::full({3, 5}, 7.f, at::TensorOptions(kFake));
  upload.Copy(stack.narrow(0, 1, 1), at::arange(5, at::kHalf).view({1, 5}));
  const at::Tensor got = stack.to(at::kCPU);
  EXPECT_TRUE(got[1].equal(at::arange(5, at::kFloat)));
  EXPECT_TRUE(got[0].equal(at::full({5}, 7.f)));
  EXPECT_TRUE(got[2].equal(at::full({5}, 7.f)));
}

TEST(WeightUploadTest, MovesTheFilesBytesAndWaitsForTheBufferBeforeItsNextUse) {
  const TempFolder folder;
  const at::Tensor values = Numbers(kBuffer).to(at::kBFloat16);  // two buffers
  ASSERT_TRUE(WriteSafetensors(folder / "x.safetensors", {{"a", values}, {"b", values}}).ok());
  const auto tensors = SafetensorsFile::Open(folder / "x.safetensors")->tensors();
  WeightUpload upload(kFake);
  const at::Tensor weight = EmptyWeight({kBuffer}, {at::kFloat, kFake});
  TakeCounts();
  upload.Copy(weight, tensors.at("a"));
  const fake_device::Counts first = TakeCounts();
  EXPECT_EQ(first.uploaded_bytes, 2 * kBuffer);
  EXPECT_EQ(first.syncs, 0) << "both buffers were free";
  upload.Copy(weight, tensors.at("b"));
  EXPECT_EQ(TakeCounts().syncs, 2);
  EXPECT_TRUE(weight.to(at::kCPU).equal(values.to(at::kFloat)));
}

TEST(WeightUploadTest, LeavesNothingOnTheThreadsOwnDevice) {
  const at::Device second = fake_device::Device(1);
  const at::Tensor values = Numbers(kBuffer);  // four buffers
  fake_device::TakeContexts();
  {
    WeightUpload upload(second);
    upload.Copy(EmptyWeight({kBuffer}, {at::kFloat, second}), values);
    upload.Await();
  }
  EXPECT_THAT(fake_device::TakeContexts(), testing::ElementsAre(1));
}

}  // namespace
}  // namespace flowawr
