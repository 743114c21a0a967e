// `flowawr sample` on the pretend device: steps that are recorded change no bit.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/sample_images.h"
#include "common/nn/lora_files.h"
#include "tests/cli/files_of.h"
#include "tests/cli/outcome.h"
#include "tests/testing/fake_device/fake_device.h"
#include "tests/testing/fake_device/fake_graph.h"

namespace flowawr {
namespace {

constexpr char kModel[] = "models/tiny-sd3";

struct Drawn {
  std::vector<SampledImage> images;
  fake_device::GraphCounts graphs;
};

// Three images of 32 x 64 pixels in passes of two, three steps each.
Drawn Draw(const Pipeline& pipeline, double guidance, int graph_batch) {
  SampleRequest request{.prompts = {"a sign that says \"CAT\"", "a sign that says \"DOG\"", "a sign that says \"OWL\""},
                        .guidance = guidance,
                        .steps = 3,
                        .height = 32,
                        .width = 64,
                        .batch = 2,
                        .graph_batch = graph_batch};
  const auto encode = [&](const std::string& text) { return pipeline.EncodePrompts({text}); };
  const EncodedPrompts prompts = EncodePrompts(request, encode, [](size_t, size_t) {}).value();
  fake_device::TakeGraphCounts();
  Drawn drawn;
  const absl::Status status = SampleImages(
      pipeline, nullptr, prompts, request, [](const SampleStep&) { return true; },
      [&](SampledImage image) { return drawn.images.push_back(std::move(image)), absl::OkStatus(); });
  EXPECT_TRUE(status.ok()) << status;
  drawn.graphs = fake_device::TakeGraphCounts();
  return drawn;
}

TEST(SampleOnDeviceTest, RecordsTheStepsOfSmallPassesWithGuidanceAndWithout) {
  at::set_num_threads(1);
  const auto pipeline =
      Pipeline::Load(kModel, {.placement = {at::kFloat, fake_device::Device()}, .max_sequence_length = 32}).value();
  for (const double guidance : {1.0, 3.0}) {
    const Drawn as_ever = Draw(*pipeline, guidance, /*graph_batch=*/0), some = Draw(*pipeline, guidance, 1),
                recorded = Draw(*pipeline, guidance, 2);
    EXPECT_EQ(as_ever.graphs.recorded + as_ever.graphs.replays, 0);
    EXPECT_EQ(some.graphs.recorded, 1);  // of the last image
    EXPECT_EQ(some.graphs.replays, 2);
    EXPECT_EQ(recorded.graphs.recorded, 2);
    EXPECT_EQ(recorded.graphs.replays, 4);
    ASSERT_EQ(as_ever.images.size(), 3);
    for (const Drawn* other : {&some, &recorded}) {
      ASSERT_EQ(other->images.size(), 3);
      for (int i = 0; i < 3; ++i) {
        EXPECT_TRUE(other->images[i].latents.equal(as_ever.images[i].latents)) << "image " << i << ", " << guidance;
        EXPECT_EQ(other->images[i].image.rgb, as_ever.images[i].image.rgb) << "image " << i << ", " << guidance;
      }
    }
  }
}

TEST(SampleOnDeviceTest, TheProgramWritesTheSameBytesWhetherStepsAreRecordedOrNot) {
  const TempFolder folder;
  const auto layout = Transformer::Load(absl::StrCat(kModel, "/transformer"), at::kFloat)
                          .value()
                          ->MakeLoraLayout({"attn.to_q"}, 4, 8)
                          .value();
  const LoraAdapter adapter = LoraAdapter::Initialise(layout, 3);
  adapter.flat().fill_(0.05);
  ASSERT_TRUE(WritePeftFolder(adapter, "tiny", folder / "adapter").ok());
  const auto draw = [&](const std::string& out, const std::string& more) {
    const Outcome outcome = RunFlowawr(
        folder,
        absl::StrCat("sample --model ", kModel, " --device fake:0 --adapter ", folder / "adapter",
                     " --height 32 --width 64 --steps 3 --count 2 --guidance 3 --prompt x --out ", folder / out, more),
        "LD_PRELOAD='" FAKE_DEVICE_LIBRARY "' ");
    EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
    return FilesOf(folder / out);
  };
  const auto usual = draw("usual", ""), as_ever = draw("as-ever", " --graph-batch 0");
  EXPECT_EQ(usual.size(), 3);
  EXPECT_EQ(usual, as_ever);
}

}  // namespace
}  // namespace flowawr
