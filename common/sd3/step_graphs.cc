#include "common/sd3/step_graphs.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "common/tensor/device_graph.h"
#include "common/tensor/device_memory.h"

namespace flowawr {
namespace {

// Shapes that an actor alternates between: of its groups, and of evaluation's batches, the last of which is smaller. All
// of their graphs share memory.
constexpr size_t kMostSteps = 4;

// Of the same shapes, for values to be copied into; undefined where there are none.
PromptEmbeds EmptyLike(const PromptEmbeds& embeds) {
  if (!embeds.prompt_embeds.defined()) return embeds;
  return {at::empty_like(embeds.prompt_embeds, at::MemoryFormat::Contiguous),
          at::empty_like(embeds.pooled, at::MemoryFormat::Contiguous)};
}

void Fill(const PromptEmbeds& own, const PromptEmbeds& values) {
  if (!own.prompt_embeds.defined()) return;
  own.prompt_embeds.copy_(values.prompt_embeds);
  own.pooled.copy_(values.pooled);
}

bool IsLike(const at::Tensor& own, const at::Tensor& values) {
  if (!own.defined() || !values.defined()) return own.defined() == values.defined();
  return own.sizes() == values.sizes() && own.scalar_type() == values.scalar_type();
}

bool IsLike(const PromptEmbeds& own, const PromptEmbeds& values) {
  return IsLike(own.prompt_embeds, values.prompt_embeds) && IsLike(own.pooled, values.pooled);
}

}  // namespace

struct StepGraphs::Step {
  Step(const Transformer& transformer, const BoundAdapter* adapter, const ConditionedTransformer& batch,
       at::IntArrayRef latents_like, int64_t tokens_of_all)
      : tokens(tokens_of_all),
        latents(at::empty(latents_like, at::TensorOptions(at::kFloat).device(transformer.placement().device))),
        sigma(at::empty({1}, latents.options())),
        velocity_of(transformer, adapter, EmptyLike(batch.prompt()),
                    {.scale = batch.guidance().scale, .negative = EmptyLike(batch.guidance().negative)}) {}

  bool Fits(const ConditionedTransformer& batch, at::IntArrayRef wanted_latents) const {
    return latents.sizes() == wanted_latents && velocity_of.guidance().scale == batch.guidance().scale &&
           IsLike(velocity_of.prompt(), batch.prompt()) &&
           IsLike(velocity_of.guidance().negative, batch.guidance().negative);
  }

  void Take(const ConditionedTransformer& batch) {
    Fill(velocity_of.prompt(), batch.prompt());
    Fill(velocity_of.guidance().negative, batch.guidance().negative);
  }

  const int64_t tokens;
  const at::Tensor latents, sigma;           // what a replay reads
  const ConditionedTransformer velocity_of;  // likewise, its prompts

  bool has_run = false;
  std::unique_ptr<DeviceGraph> graph;  // null until it is recorded
  at::Tensor velocity;                 // what a replay writes
};

StepGraphs::StepGraphs(const Transformer& transformer, int most_images)
    : transformer_(transformer), most_images_(most_images) {
  const at::Device device = transformer.placement().device;
  if (device.is_cpu()) most_images_ = 0;
  if (most_images_ == 0) return;
  const absl::Status can = DeviceGraph::CheckDevice(device);
  if (can.ok()) return;
  spdlog::info("{}: steps of small batches are not recorded: {}", device.str(), std::string(can.message()));
  most_images_ = 0;
}

StepGraphs::~StepGraphs() = default;

std::function<at::Tensor(const at::Tensor&, float)> StepGraphs::VelocityOf(std::shared_ptr<const BoundAdapter> adapter,
                                                                           const PromptEmbeds& prompt,
                                                                           const Guidance& guidance,
                                                                           at::IntArrayRef latents) {
  if (adapter != adapter_ || most_images_ == 0) {
    for (Step& step : steps_) KeepMemoryOf(step);
    steps_.clear();
    adapter_.reset();
  }
  if (most_images_ == 0) spare_.reset();
  const ConditionedTransformer as_ever(transformer_, adapter.get(), prompt, guidance);
  if (!MayRecord(latents[0], TokensOf(as_ever, latents))) return as_ever;
  adapter_ = std::move(adapter);
  Step& step = StepFor(as_ever, latents);
  step.Take(as_ever);
  return [this, &step, as_ever](const at::Tensor& now, float sigma) { return Evaluate(step, as_ever, now, sigma); };
}

int StepGraphs::recorded() const {
  return static_cast<int>(std::ranges::count_if(steps_, [](const Step& step) { return step.graph != nullptr; }));
}

// What a step's memory grows with: of all images, of both passes where there is guidance, the text's included.
int64_t StepGraphs::TokensOf(const ConditionedTransformer& batch, at::IntArrayRef latents) const {
  const int64_t patch = transformer_.config().patch_size;
  const int64_t passes = batch.guidance().scale == 1 ? 1 : 2;
  return passes * latents[0] * (latents[2] * latents[3] / (patch * patch) + batch.prompt().prompt_embeds.size(1));
}

bool StepGraphs::MayRecord(int64_t images, int64_t tokens) const {
  return images <= most_images_ && tokens < too_many_tokens_;
}

StepGraphs::Step& StepGraphs::StepFor(const ConditionedTransformer& batch, at::IntArrayRef latents) {
  const auto found = std::ranges::find_if(steps_, [&](const Step& step) { return step.Fits(batch, latents); });
  if (found != steps_.end()) {
    steps_.splice(steps_.begin(), steps_, found);
    return steps_.front();
  }
  if (steps_.size() == kMostSteps) {
    KeepMemoryOf(steps_.back());
    steps_.pop_back();
  }
  return steps_.emplace_front(transformer_, adapter_.get(), batch, latents, TokensOf(batch, latents));
}

at::Tensor StepGraphs::Evaluate(Step& step, const ConditionedTransformer& as_ever, const at::Tensor& latents,
                                float sigma) {
  // Also what a recording needs to have been done before.
  if (!std::exchange(step.has_run, true) || !MayRecord(latents.size(0), step.tokens)) return as_ever(latents, sigma);
  if (step.graph == nullptr && !Record(step)) return as_ever(latents, sigma);
  step.latents.copy_(latents);
  step.sigma.fill_(sigma);
  step.graph->Replay();
  return step.velocity.clone();  // the next replay writes the same memory
}

void StepGraphs::KeepMemoryOf(Step& step) {
  if (step.graph != nullptr) spare_ = std::move(step.graph);
}

void StepGraphs::GiveBackMemory() {
  for (Step& step : steps_) {
    step.velocity.reset();
    step.graph.reset();
  }
  spare_.reset();
  GiveBackFreedDeviceMemory();
}

bool StepGraphs::Record(Step& step) {
  absl::Status status = RecordOnce(step);
  if (absl::IsResourceExhausted(status)) {
    // LibTorch, which gives nothing back while it records, keeps what the step took that ran as ever: it may be enough.
    GiveBackMemory();
    status = RecordOnce(step);
  }
  if (status.ok()) return true;
  const std::string device = transformer_.placement().device.str();
  if (absl::IsResourceExhausted(status)) {
    GiveBackMemory();
    too_many_tokens_ = step.tokens;
    spdlog::warn("{}: no memory to record a step of {} images, and only smaller ones are from now on, which changes no bit: {}",
                 device, step.latents.size(0), std::string(status.message()));
  } else {
    most_images_ = 0;
    spdlog::warn("{}: a step could not be recorded, and none is from now on, which changes no bit: {}", device,
                 std::string(status.message()));
  }
  return false;
}

absl::Status StepGraphs::RecordOnce(Step& step) {
  const auto shared = std::ranges::find_if(steps_, [](const Step& other) { return other.graph != nullptr; });
  auto graph = DeviceGraph::Record(
      transformer_.placement().device, [&] { step.velocity = step.velocity_of(step.latents, step.sigma); },
      shared == steps_.end() ? spare_.get() : shared->graph.get());
  if (!graph.ok()) {
    step.velocity.reset();
    return graph.status();
  }
  step.graph = *std::move(graph);
  spare_.reset();
  return absl::OkStatus();
}

}  // namespace flowawr
