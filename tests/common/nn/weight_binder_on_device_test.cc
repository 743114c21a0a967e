// WeightBinder for a device that is not the CPU, by the pretend one of tests/testing/fake_device. Its memory is this
// process's, too.
#include <gtest/gtest.h>
#include <torch/types.h>

#include <map>
#include <string>

#include "common/nn/weight_binder.h"
#include "common/tensor/safetensors.h"
#include "tests/testing/fake_device/fake_device.h"
#include "tests/testing/peak_memory.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using fake_device::Counts;
using fake_device::TakeCounts;

const at::Device kFake = fake_device::Device();

at::Tensor Numbers(int64_t rows) { return at::arange(rows * 1024, at::kFloat).mul_(0.37).sin_().view({rows, 1024}); }

TEST(WeightBinderOnDeviceTest, JoinsLargeWeightsThereAndUploadsThemAsTheFileHasThem) {
  const TempFolder folder;
  const at::Tensor q = Numbers(1024).to(at::kBFloat16), k = Numbers(2048).to(at::kHalf);
  ASSERT_TRUE(WriteSafetensors(folder / "m.safetensors", {{"q", q}, {"k", k}}).ok());
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    WeightBinder binder = WeightBinder::Open(folder.path(), "m", {dtype, kFake}).value();
    TakeCounts();
    const StackedWeight weight = binder.TakeStacked({{"q", 1024}, {"k", 2048}}, {1024});
    const Counts counts = TakeCounts();
    EXPECT_EQ(counts.uploaded_bytes, 3072 * 1024 * 2);
    EXPECT_EQ(counts.downloads, 0);
    ASSERT_EQ(weight.parts().size(), 1u);
    EXPECT_EQ(weight.device(), kFake);
    EXPECT_TRUE(weight.Joined().to(at::kCPU).equal(at::cat({q.to(dtype), k.to(dtype)})));
    EXPECT_TRUE(binder.Finish().ok());
    EXPECT_EQ(TakeCounts().syncs, 1) << "when Finish() returns, the weights are there";
  }
}

TEST(WeightBinderOnDeviceTest, KeepsNoMoreOfALargeFileOnTheHostThanItsBuffersHold) {
  const TempFolder folder;
  constexpr int64_t kRows = 12 * 1024;  // 48 MiB in the file, 24 there
  const std::map<std::string, at::Tensor> tensors = {
      {"q", Numbers(kRows)}, {"k", Numbers(kRows)}, {"v", Numbers(kRows)}};
  ASSERT_TRUE(WriteSafetensors(folder / "m.safetensors", tensors).ok());
  WeightBinder binder = WeightBinder::Open(folder.path(), "m", {at::kBFloat16, kFake}).value();
  TakeCounts();
  const PeakMemory peak;
  const StackedWeight weight = binder.TakeStacked({{"q", kRows}, {"k", kRows}, {"v", kRows}}, {1024});
  EXPECT_TRUE(binder.Finish().ok());
  const int64_t on_host = peak.Bytes() - TakeCounts().peak_bytes;
  EXPECT_LT(on_host, 2 * WeightUpload::kBufferBytes + (int64_t{4} << 20));
  RecordProperty("host_bytes", std::to_string(on_host));
}

}  // namespace
}  // namespace flowawr
