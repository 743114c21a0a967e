// The gradient engine on devices that are not the CPU, by default the pretend ones (tests/testing/test_device.h).
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "common/diffusion/noise.h"
#include "learner/local_gradient_engine.h"
#include "tests/learner/algorithm/methods.h"
#include "tests/learner/drawn_groups.h"
#include "tests/testing/fake_device/counted_transfers.h"
#include "tests/testing/fake_device/cuda_kernels.h"
#include "tests/testing/fake_device/fake_device.h"
#include "tests/testing/test_device.h"

namespace flowawr {
namespace {

using fake_device::Counts;
using fake_device::TakeCounts;

constexpr int64_t kSamples = 4, kMicroBatch = 3;
const std::vector<float> kSigmas = {1, 0.9f, 0.7f, 0.4f, 0};

class GradientOnDevicesTest : public testing::Test {
 protected:
  GradientOnDevicesTest() {
    at::set_num_threads(1);
    for (uint64_t id = 10; id < 13; ++id)
      batch_.push_back(DrawnGroup(*host_, id, /*version=*/id == 12 ? 4 : 5, kSamples));
  }

  static std::shared_ptr<const Transformer> Load(at::Device device) {
    return Transformer::Load("models/tiny-sd3/transformer", {at::kFloat, device}).value();
  }
  BatchGradient Compute(const std::vector<std::shared_ptr<const Transformer>>& transformers) {
    LocalGradientEngine engine(transformers, MakeAlgorithm(config_, kSigmas).value(),
                               {.threads = 2, .micro_batch = kMicroBatch, .seed = 3});
    return engine
        .Compute({.update = 7,
                  .batch = batch_,
                  .signals = signals_,
                  .is_all_equal = is_all_equal_,
                  .current = current_,
                  .old_adapter = [this](uint64_t version) { return version == 5 ? nullptr : &old_; },
                  .is_cancelled = never_})
        .value();
  }

  const std::shared_ptr<const Transformer> host_ = Load(at::kCPU);
  const std::shared_ptr<const LoraLayout> layout_ = host_->MakeLoraLayout({"attn.to_q", "attn.to_out.0"}, 4, 8).value();
  const v1::RunConfig config_ = MethodConfig([](v1::AlgorithmConfig& a) { ChooseFlowAwr(a); });
  std::vector<Group> batch_;
  const at::Tensor signals_ = InitialNoise(1, 0, 0, {3, kSamples});
  const std::vector<bool> is_all_equal_ = {false, false, false};
  const LoraAdapter current_ = DrawnAdapter(layout_, 21), old_ = DrawnAdapter(layout_, 22);
  const std::atomic<bool> never_ = false;
};

TEST_F(GradientOnDevicesTest, ADeviceGivesTheGradientAndFiguresOfTheCpu) {
  const BatchGradient wanted = Compute({host_}), got = Compute({Load(TestDevice())});
  EXPECT_TRUE(got.gradient.is_cpu());
  EXPECT_GT(wanted.gradient.norm().item<double>(), 1e-6);
  const double bound = DeviceBound(at::kFloat, 1e-5);
  ExpectClose("gradient", got.gradient, wanted.gradient, bound);
  EXPECT_NEAR(got.loss, wanted.loss, bound * wanted.loss);
  EXPECT_EQ(got.rows, wanted.rows);
  ASSERT_EQ(got.figures.size(), wanted.figures.size());
  for (const auto& [name, value] : wanted.figures)
    EXPECT_NEAR(got.figures.at(name), value, bound * std::abs(value)) << name;
}

TEST_F(GradientOnDevicesTest, ItIsWaitedForOnceABatch) {
  if (!fake_device::IsThere()) GTEST_SKIP() << "nothing is counted on a real device";
  const auto device = Load(fake_device::Device());
  TakeCounts();
  Compute({device});
  const Counts counts = TakeCounts();
  EXPECT_EQ(counts.syncs, 0);
  EXPECT_EQ(counts.downloads, 2) << "all chunks' figures, and the gradient";
  const int64_t chunks = 3 * ((kSamples * 2 + kMicroBatch - 1) / kMicroBatch);
  EXPECT_EQ(counts.uploads, 2 + 3 * 2 + chunks * 5) << "two adapters; embeddings of a group once; rows of a chunk";
}

TEST_F(GradientOnDevicesTest, EveryByteThatCrossesOverIsCounted) {
  const CountedTransfers transfers;
  const auto first = Load(TestDevice());
  std::vector<std::shared_ptr<const Transformer>> transformers = {first};
  if (Accelerators().size() > 1) transformers.push_back(Load(Accelerators()[1]));
  Compute(transformers);
  const Counts counts = TakeCounts();
  transfers.ExpectAllOf(counts);
  if (fake_device::IsThere()) {
    EXPECT_GT(counts.uploaded_bytes, 0);
    EXPECT_GT(counts.downloaded_bytes, 0);
  }
}

TEST_F(GradientOnDevicesTest, TwoLikeDevicesGiveTheBitsOfOne) {
  const std::vector<at::Device> devices = Accelerators();
  if (devices.size() < 2) GTEST_SKIP() << "there is one device";
  const auto first = Load(devices[0]), second = Load(devices[1]);
  const BatchGradient one = Compute({first}), two = Compute({first, second});
  EXPECT_TRUE(at::equal(one.gradient, two.gradient));
  EXPECT_EQ(one.loss, two.loss);
  EXPECT_EQ(one.figures, two.figures);
}

TEST_F(GradientOnDevicesTest, LeavesNothingOnADeviceThatIsNotNamed) {
  if (!fake_device::IsThere()) GTEST_SKIP() << "a real device does not tell";
  fake_device::TakeContexts();
  Compute({Load(fake_device::Device(1))});
  EXPECT_THAT(fake_device::TakeContexts(), testing::ElementsAre(1));
}

TEST_F(GradientOnDevicesTest, TellsWhichGroupIsNotFinite) {
  batch_[1].x0[3] = std::numeric_limits<float>::infinity();
  EXPECT_THAT(Compute({Load(TestDevice())}).not_finite, testing::ElementsAre(1));
}

}  // namespace
}  // namespace flowawr
