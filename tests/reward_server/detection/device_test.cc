// The reward models on a device that is not the CPU, by the pretend one of tests/testing/fake_device: the same numbers.
#include <gtest/gtest.h>
#include <torch/types.h>

#include <string>
#include <vector>

#include "common/clip/clip_model.h"
#include "reward_server/detection/mask2former.h"
#include "tests/testing/fake_device/cuda_kernels.h"
#include "tests/testing/fake_device/fake_device.h"
#include "tests/testing/tensor_error.h"

namespace flowawr {
namespace {

using fake_device::Counts;
using fake_device::TakeCounts;

const at::Device kFake = fake_device::Device();

class RewardModelsOnDeviceTest : public testing::TestWithParam<at::ScalarType> {
 protected:
  Placement There() const { return {GetParam(), kFake}; }
  double Bound() const { return GetParam() == at::kFloat ? 1e-5 : 3e-2; }
  at::Tensor Picture(at::IntArrayRef sizes) { return at::randn(sizes, generator_); }

  at::Generator generator_ = at::make_generator<at::CPUGeneratorImpl>(3);
};

TEST_P(RewardModelsOnDeviceTest, ClipEmbedsTheSamePicturesAndTexts) {
  const auto host = ClipModel::Load("models/tiny-rewards/clip", GetParam()).value();
  const auto device = ClipModel::Load("models/tiny-rewards/clip", There()).value();
  const std::vector<at::Tensor> pictures = {Picture({3, host->image_size(), host->image_size()})};
  const std::vector<std::string> texts = {"a red circle", "two signs"};
  TakeCounts();
  const at::Tensor images = device->ImageEmbeds(pictures);
  const Counts counts = TakeCounts();
  EXPECT_EQ(counts.uploads, 1) << "the picture";
  EXPECT_EQ(counts.downloads, 1) << "its embedding";
  EXPECT_EQ(counts.syncs, 0);
  EXPECT_LT(RelativeError(images, host->ImageEmbeds(pictures)), Bound());
  EXPECT_LT(RelativeError(device->TextEmbeds(texts).value(), host->TextEmbeds(texts).value()), Bound());
}

TEST_P(RewardModelsOnDeviceTest, TheDetectorFindsTheSame) {
  const auto host = Mask2Former::Load("models/tiny-rewards/detector", GetParam()).value();
  const auto device = Mask2Former::Load("models/tiny-rewards/detector", There()).value();
  const at::Tensor pixels = Picture({1, 3, 64, 96});
  const MaskQueries wanted = host->Forward(pixels, kToTheEnd).value(), got = device->Forward(pixels, kToTheEnd).value();
  EXPECT_TRUE(got.class_logits.is_cpu());
  EXPECT_LT(RelativeError(got.class_logits, wanted.class_logits), Bound());
  EXPECT_LT(RelativeError(got.mask_logits, wanted.mask_logits), 4 * Bound());
}

INSTANTIATE_TEST_SUITE_P(, RewardModelsOnDeviceTest, testing::Values(at::kFloat, at::kBFloat16),
                         [](const auto& info) { return std::string(c10::toString(info.param)); });

}  // namespace
}  // namespace flowawr
