// The reward models on a device that is not the CPU, by default the pretend one (tests/testing/test_device.h): the same
// numbers.
#include <gtest/gtest.h>
#include <torch/types.h>

#include <string>
#include <vector>

#include "common/clip/clip_model.h"
#include "reward_server/detection/mask2former.h"
#include "tests/testing/fake_device/counted_transfers.h"
#include "tests/testing/fake_device/cuda_kernels.h"
#include "tests/testing/fake_device/fake_device.h"
#include "tests/testing/test_device.h"

namespace flowawr {
namespace {

using fake_device::Counts;
using fake_device::TakeCounts;

class RewardModelsOnDeviceTest : public testing::TestWithParam<at::ScalarType> {
 protected:
  Placement There() const { return {GetParam(), TestDevice()}; }
  double Bound() const { return DeviceBound(GetParam(), GetParam() == at::kFloat ? 1e-5 : 3e-2); }
  at::Tensor Picture(at::IntArrayRef sizes) { return at::randn(sizes, generator_); }

  at::Generator generator_ = at::make_generator<at::CPUGeneratorImpl>(3);
};

TEST_P(RewardModelsOnDeviceTest, ClipEmbedsTheSamePicturesAndTexts) {
  const auto host = ClipModel::Load("models/tiny-rewards/clip", GetParam()).value();
  const CountedTransfers transfers;
  const auto device = ClipModel::Load("models/tiny-rewards/clip", There()).value();
  transfers.ExpectAllOf(TakeCounts());
  const std::vector<int64_t> sizes = {3, host->image_size(), host->image_size()};
  const std::vector<at::Tensor> pictures = {Picture(sizes), Picture(sizes)};
  const std::vector<std::string> texts = {"a red circle", "two signs"};
  const CountedTransfers of_pictures;
  const at::Tensor images = device->ImageEmbeds(pictures);
  const Counts counts = TakeCounts();
  of_pictures.ExpectAllOf(counts);
  if (fake_device::IsThere()) {
    EXPECT_EQ(counts.uploads, 2) << "the pictures";
    EXPECT_EQ(counts.downloads, 1) << "their embeddings";
    EXPECT_EQ(counts.syncs, 0);
  }
  ExpectClose("images", images, host->ImageEmbeds(pictures), Bound());
  const CountedTransfers of_prompts;
  const at::Tensor embedded = device->TextEmbeds(texts).value();
  const Counts of_texts = TakeCounts();
  of_prompts.ExpectAllOf(of_texts);
  if (fake_device::IsThere()) {
    EXPECT_EQ(of_texts.uploads, 2) << "the texts' tokens";
    EXPECT_EQ(of_texts.downloads, 1) << "their embeddings";
    EXPECT_EQ(of_texts.syncs, 0);
  }
  ExpectClose("texts", embedded, host->TextEmbeds(texts).value(), Bound());
}

TEST_P(RewardModelsOnDeviceTest, TheDetectorFindsTheSame) {
  const auto host = Mask2Former::Load("models/tiny-rewards/detector", GetParam()).value();
  const CountedTransfers transfers;
  const auto device = Mask2Former::Load("models/tiny-rewards/detector", There()).value();
  transfers.ExpectAllOf(TakeCounts());
  const at::Tensor pixels = Picture({1, 3, 64, 96});
  const MaskQueries wanted = host->Forward(pixels, kToTheEnd).value();
  const CountedTransfers of_a_picture;
  const MaskQueries got = device->Forward(pixels, kToTheEnd).value();
  const Counts counts = TakeCounts();
  of_a_picture.ExpectAllOf(counts);
  if (fake_device::IsThere()) {
    EXPECT_EQ(counts.uploads, 1) << "the picture";
    EXPECT_EQ(counts.downloads, 2) << "classes and masks";
    EXPECT_EQ(counts.syncs, 0);
  }
  EXPECT_TRUE(got.class_logits.is_cpu());
  ExpectClose("classes", got.class_logits, wanted.class_logits, Bound());
  ExpectClose("masks", got.mask_logits, wanted.mask_logits, 4 * Bound());
}

INSTANTIATE_TEST_SUITE_P(, RewardModelsOnDeviceTest, testing::Values(at::kFloat, at::kBFloat16),
                         [](const auto& info) { return std::string(c10::toString(info.param)); });

}  // namespace
}  // namespace flowawr
