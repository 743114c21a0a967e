// Steps that are recorded and replayed have the bits of steps that are not, whatever changes between batches.
#include "common/sd3/step_graphs.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "common/tensor/device_graph.h"
#include "common/tensor/device_stream.h"
#include "tests/testing/fake_device/fake_graph.h"
#include "tests/testing/fake_device/fake_limit.h"
#include "tests/testing/host_kernels/host_kernels.h"
#include "tests/testing/test_device.h"

namespace flowawr {
namespace {

using fake_device::TakeCounts;
using fake_device::TakeGraphCounts;

class StepGraphsTest : public testing::Test {
 protected:
  StepGraphsTest() {
    at::set_num_threads(1);  // of small operations, which wait for other threads more than they compute
    AwaitStream(TestDevice());  // the model was loaded on the default stream
    own_.emplace(TestDevice());
    TakeGraphCounts();
  }
  ~StepGraphsTest() override { AwaitStream(TestDevice()); }
  void SetUp() override {
    if (const absl::Status can = DeviceGraph::CheckDevice(TestDevice()); !can.ok()) GTEST_SKIP() << can;
  }

  static const Transformer& Model() {
    static const auto model = Transformer::Load("models/tiny-sd3/transformer", {at::kFloat, TestDevice()}).value();
    return *model;
  }

  std::shared_ptr<const BoundAdapter> Adapter(double b) {
    const auto layout = Model().MakeLoraLayout({"attn.to_q"}, 4, 8).value();
    LoraAdapter adapter = LoraAdapter::Initialise(layout, 1);
    adapter.flat().narrow(0, layout->OffsetOfB(0), layout->size() - layout->OffsetOfB(0)).fill_(b);
    return std::make_shared<const BoundAdapter>(Model().BindMerged(adapter).value());
  }

  at::Tensor Random(at::IntArrayRef sizes) { return at::randn(sizes, generator_).to(TestDevice()); }
  PromptEmbeds Prompt(int64_t tokens = 40) {
    return {Random({1, tokens, Model().config().joint_attention_dim}),
            Random({1, Model().config().pooled_projection_dim})};
  }

  // A batch of four steps, each on latents of its own, has the bits that it has without graphs.
  void ExpectSameBits(StepGraphs& graphs, const std::shared_ptr<const BoundAdapter>& adapter, const PromptEmbeds& prompt,
                      const Guidance& guidance = {}, int64_t images = 2) {
    const std::vector<int64_t> sizes = {images, Model().config().in_channels, 8, 16};
    const auto velocity = graphs.VelocityOf(adapter, prompt, guidance, sizes);
    const ConditionedTransformer as_ever(Model(), adapter.get(), prompt, guidance);
    std::vector<at::Tensor> kept, wanted;
    for (const float sigma : {1.0F, 0.8F, 0.4F, 0.1F}) {
      const at::Tensor latents = Random(sizes);
      TakeCounts();
      kept.push_back(velocity(latents, sigma));
      const fake_device::Counts counts = TakeCounts();
      EXPECT_EQ(counts.uploads + counts.downloads + counts.syncs, 0);
      wanted.push_back(as_ever(latents, sigma));
    }
    AwaitStream(TestDevice());
    for (size_t i = 0; i < kept.size(); ++i) EXPECT_TRUE(at::equal(kept[i].cpu(), wanted[i].cpu())) << "step " << i;
  }

  // Of the pretend device.
  static int64_t BytesInUse() {
    TakeCounts();
    return TakeCounts().peak_bytes;
  }

  void ExpectCounts(int64_t recorded, int64_t replays) {
    if (!fake_device::IsThere()) return;
    const fake_device::GraphCounts counts = TakeGraphCounts();
    EXPECT_EQ(counts.recorded, recorded);
    EXPECT_EQ(counts.replays, replays);
    EXPECT_EQ(counts.refused, 0);
  }

  const c10::InferenceMode guard_;
  std::optional<OwnStream> own_;
  at::Generator generator_ = at::make_generator<at::CPUGeneratorImpl>(7);
};

TEST_F(StepGraphsTest, RecordsTheSecondStepAndReplaysItForLaterBatches) {
  Model();
  AwaitStream(TestDevice());
  StepGraphs graphs(Model(), 4);
  const auto adapter = Adapter(0.02);
  ExpectSameBits(graphs, adapter, Prompt());
  ExpectCounts(/*recorded=*/1, /*replays=*/3);
  EXPECT_EQ(graphs.recorded(), 1);
  ExpectSameBits(graphs, adapter, Prompt());
  ExpectCounts(/*recorded=*/0, /*replays=*/4);
}

TEST_F(StepGraphsTest, FollowsAdapterGuidanceAndShapes) {
  StepGraphs graphs(Model(), 4);
  const auto adapter = Adapter(0.02), next = Adapter(-0.03);
  const Guidance guidance = {.scale = 3, .negative = Prompt()};
  ExpectSameBits(graphs, adapter, Prompt(), guidance);
  ExpectSameBits(graphs, adapter, Prompt(), {.scale = 3, .negative = Prompt()});
  ExpectCounts(/*recorded=*/1, /*replays=*/7);
  ExpectSameBits(graphs, adapter, Prompt(), {.scale = 2, .negative = Prompt()});
  ExpectSameBits(graphs, adapter, Prompt(/*tokens=*/24), {});
  ExpectSameBits(graphs, adapter, Prompt(), {}, /*images=*/1);
  ExpectCounts(/*recorded=*/3, /*replays=*/9);
  ExpectSameBits(graphs, next, Prompt(), guidance);
  ExpectCounts(/*recorded=*/1, /*replays=*/3);
  ExpectSameBits(graphs, nullptr, Prompt(), guidance);
  ExpectCounts(/*recorded=*/1, /*replays=*/3);
}

// Else an actor would need more memory with every policy version.
TEST_F(StepGraphsTest, TakesMemoryForGraphsOnce) {
  if (!fake_device::IsThere()) GTEST_SKIP() << "counted on the pretend device";
  StepGraphs graphs(Model(), 4);
  for (int version = 0; version < 4; ++version) {
    const auto adapter = Adapter(0.01 * version);
    for (const int64_t images : {1, 2}) ExpectSameBits(graphs, adapter, Prompt(), {}, images);
  }
  for (int64_t tokens = 8; tokens < 14; ++tokens) ExpectSameBits(graphs, nullptr, Prompt(tokens));
  const fake_device::GraphCounts counts = TakeGraphCounts();
  EXPECT_EQ(counts.recorded, 14);
  EXPECT_EQ(counts.pools, 1);
}

TEST_F(StepGraphsTest, LeavesLargeBatchesAlone) {
  StepGraphs graphs(Model(), 1);
  ExpectSameBits(graphs, nullptr, Prompt());
  ExpectCounts(0, 0);
}

TEST_F(StepGraphsTest, GoesOnAsEverWhenAStepCannotBeRecorded) {
  if (!fake_device::IsThere()) GTEST_SKIP() << "a real device records them";
  const HostKernels refuse;
  StepGraphs graphs(Model(), 4);
  ExpectSameBits(graphs, nullptr, Prompt());
  ExpectSameBits(graphs, nullptr, Prompt());
  const fake_device::GraphCounts counts = TakeGraphCounts();
  EXPECT_EQ(counts.refused, 1);
  EXPECT_EQ(counts.recorded + counts.replays, 0);
}

// Recorded, a step has all of its values at once; run as ever, those of a layer.
TEST_F(StepGraphsTest, WhereMemoryIsShortOnlyWhatFitsIsRecordedAndNothingIsKept) {
  if (!fake_device::IsThere()) GTEST_SKIP() << "the pretend device's memory can be small";
  StepGraphs graphs(Model(), 4);
  const PromptEmbeds prompt = Prompt();
  const auto sample = [&](int64_t images) { ExpectSameBits(graphs, nullptr, prompt, {}, images); };
  const int64_t before = BytesInUse();
  sample(1);
  ExpectCounts(/*recorded=*/1, /*replays=*/3);
  const int64_t of_one = BytesInUse() - before;
  const fake_device::MemoryLimit limit(before + 5 * of_one / 2);

  sample(4);  // does not fit beside the other, and not alone
  ExpectCounts(/*recorded=*/2, /*replays=*/0);
  EXPECT_EQ(graphs.recorded(), 0);
  EXPECT_LT(BytesInUse() - before, of_one / 2);
  sample(4);
  ExpectCounts(/*recorded=*/0, /*replays=*/0);

  sample(1);
  ExpectCounts(/*recorded=*/1, /*replays=*/4);
  sample(2);  // fits alone
  ExpectCounts(/*recorded=*/2, /*replays=*/3);
  EXPECT_EQ(graphs.recorded(), 1);
}

TEST_F(StepGraphsTest, RefusesWhatACaptureCannotHold) {
  if (!fake_device::IsThere()) GTEST_SKIP() << "of the pretend device";
  const at::Tensor x = Random({4});
  for (const auto& work : std::vector<std::function<void()>>{
           [&] { x.sum().item<float>(); }, [&] { x.add(at::ones({4}).to(TestDevice())); }, [&] { x.cpu(); },
           [&] { AwaitStream(TestDevice()); },
           [&] {
             const OwnStream other(TestDevice());
             x + 1;
           }}) {
    EXPECT_EQ(DeviceGraph::Record(TestDevice(), work).status().code(), absl::StatusCode::kFailedPrecondition);
  }
  EXPECT_EQ(TakeGraphCounts().refused, 5);
  at::Tensor y;
  const auto graph = DeviceGraph::Record(TestDevice(), [&] { y = x + 1; });
  ASSERT_TRUE(graph.ok()) << graph.status();
  (*graph)->Replay();
  EXPECT_TRUE(at::equal(y.cpu(), x.cpu() + 1));
}

}  // namespace
}  // namespace flowawr
