#include "cli/pass_times.h"

#include <ATen/Parallel.h>
#include <time.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/barrier.h"
#include "common/base/status.h"
#include "common/base/usable_cores.h"
#include "common/sd3/compute_dtype.h"
#include "common/sd3/latent_shape.h"
#include "common/sd3/transformer.h"
#include "common/sd3/vae.h"

namespace flowawr {
namespace {

constexpr double kLeastSeconds = 0.25;  // of each measurement; one pass at least
constexpr int64_t kAllBlocks = 6;       // a model of no more is timed as it is
constexpr double kOperations = 3e9;     // a block's pass of about so many is enough to be typical
constexpr int64_t kDecodedPixels = int64_t{256} * 256;

double Seconds(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// Seconds of one `pass` on each of `count` threads at once, LibTorch having `threads` in each, if nothing else ran on
// the machine: where each works alone its processor time counts, which other processes hardly change. `warm_up` comes
// first, on each.
double TimeSideBySide(int count, int threads, const std::function<void()>& warm_up, const std::function<void()>& pass) {
  const clockid_t clock = threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
  std::vector<double> seconds(count);
  std::vector<std::thread> workers;
  absl::Barrier* const start = new absl::Barrier(count);  // deleted by who leaves it last
  for (int i = 0; i < count; ++i) {
    workers.emplace_back([&, i] {
      at::set_num_threads(threads);
      warm_up();
      if (start->Block()) delete start;
      const double begin = Seconds(clock);
      int passes = 0;
      double total = 0;
      do {
        pass();
        ++passes;
        total = Seconds(clock) - begin;
      } while (total < kLeastSeconds);
      seconds[i] = total / passes;
    });
  }
  for (std::thread& worker : workers) worker.join();
  double sum = 0;
  for (const double each : seconds) sum += each;
  const double share = threads == 1 ? static_cast<double>(count) / UsableCoresHere().count : 1;  // of a core, for each
  return sum / count * std::max(1.0, share);
}

// Time of a pass through a model of two blocks (one, and the last, which is less), and what a block more adds.
struct BlockTimes {
  double two_blocks = 0, block = 0, dual_block = 0;

  double Whole(const TransformerConfig& config) const {
    const auto duals = static_cast<double>(config.dual_attention_layers.size());
    const double plain = static_cast<double>(config.num_layers) - 1 - duals;
    return two_blocks + std::max(0.0, block) * (plain - 1) + std::max(0.0, dual_block) * duals;
  }
};

TransformerConfig WithBlocks(TransformerConfig config, int64_t blocks, bool first_is_dual) {
  config.num_layers = blocks;
  config.dual_attention_layers = first_is_dual ? std::set<int64_t>{0} : std::set<int64_t>{};
  return config;
}

// What `time` says of a model with the blocks of `config`.
double TimeOfAllBlocks(const TransformerConfig& config, const std::function<double(const TransformerConfig&)>& time) {
  if (config.num_layers <= kAllBlocks) return time(config);
  BlockTimes times;
  times.two_blocks = time(WithBlocks(config, 2, false));
  times.block = time(WithBlocks(config, 3, false)) - times.two_blocks;
  if (!config.dual_attention_layers.empty()) times.dual_block = time(WithBlocks(config, 3, true)) - times.two_blocks;
  return times.Whole(config);
}

class Measurement {
 public:
  Measurement(const v1::RunConfig& config, const ModelSizes& model, const ThreadBudget& budget,
              const LatentShape& shape)
      : config_(config),
        model_(model),
        budget_(budget),
        shape_(shape),
        sizes_(model.transformer),
        dtype_(ScalarTypeOf(config.model().dtype())) {
    // The table of positions is no work, but the largest of a model's tensors.
    sizes_.pos_embed_max_size = std::max(shape.height, shape.width) / sizes_.patch_size;
  }

  PassTimes Measure() const {
    const int actors = std::max(1, budget_.actors), learners = std::max(1, budget_.learner_threads);
    const int64_t drawn = Rows(config_.rollout().samples_per_group());
    const TrainingWork work = TrainingWorkOf(config_);
    const int64_t trained = Rows(std::min<int64_t>(config_.train().micro_batch(),
                                                   work.rows / std::max(1, config_.rollout().groups_per_batch())));
    PassTimes times;
    times.sample_row =
        TimeOfAllBlocks(sizes_,
                        [&](const TransformerConfig& sizes) {
                          return TimeForward(sizes, drawn, /*shares_sigma=*/true, actors, budget_.actor_threads);
                        }) /
        static_cast<double>(drawn * actors);
    times.decode_row = TimeDecoding(actors);
    times.train_row =
        TimeOfAllBlocks(sizes_,
                        [&](const TransformerConfig& sizes) { return TimeTraining(sizes, trained, learners); }) /
        static_cast<double>(trained * learners);
    if (work.computes_old || work.computes_reference) {
      times.forward_row = TimeOfAllBlocks(sizes_,
                                          [&](const TransformerConfig& sizes) {
                                            return TimeForward(sizes, trained, /*shares_sigma=*/false, learners, 1);
                                          }) /
                          static_cast<double>(trained * learners);
    }
    return times;
  }

 private:
  // As many as the run has, or fewer that are work enough.
  int64_t Rows(int64_t wanted) const {
    const auto tokens = static_cast<double>(shape_.height * shape_.width / (sizes_.patch_size * sizes_.patch_size) +
                                            TextTokens(config_, model_));
    const auto width = static_cast<double>(sizes_.inner_dim());
    return std::clamp<int64_t>(static_cast<int64_t>(kOperations / (24 * tokens * width * width)), 1,
                               std::max<int64_t>(wanted, 1));
  }

  TransformerInput Input(const TransformerConfig& sizes, int64_t rows, int64_t height, int64_t width,
                         bool shares_sigma) const {
    return {at::randn({rows, sizes.in_channels, height, width}),
            shares_sigma ? at::full({1}, 0.7f) : at::linspace(0.9, 0.3, rows, at::kFloat),
            at::randn({1, TextTokens(config_, model_), sizes.joint_attention_dim}).to(dtype_),
            at::randn({1, sizes.pooled_projection_dim}).to(dtype_)};
  }

  double TimeForward(const TransformerConfig& sizes, int64_t rows, bool shares_sigma, int count, int threads) const {
    const auto model = Transformer::MadeUp(sizes, dtype_);
    const TransformerInput input = Input(sizes, rows, shape_.height, shape_.width, shares_sigma);
    const TransformerInput small = Input(sizes, rows, sizes.patch_size, sizes.patch_size, shares_sigma);
    const auto forward = [&](const TransformerInput& of) {
      const at::NoGradGuard no_grad;
      model->Forward(of, nullptr);
    };
    return TimeSideBySide(
        count, threads, [&] { forward(small); }, [&] { forward(input); });
  }

  double TimeTraining(const TransformerConfig& sizes, int64_t rows, int count) const {
    const auto model = Transformer::MadeUp(sizes, dtype_);
    const TransformerInput input = Input(sizes, rows, shape_.height, shape_.width, /*shares_sigma=*/false);
    const TransformerInput small = Input(sizes, rows, sizes.patch_size, sizes.patch_size, /*shares_sigma=*/false);
    const std::shared_ptr<const LoraLayout> layout = Layout(*model);
    const at::Tensor flat = at::full({layout->size()}, 0.01f).requires_grad_(true);
    const BoundAdapter bound = model->Bind(LoraAdapter(layout, flat)).value();
    const int64_t checkpointed =
        config_.train().checkpointed_blocks() * sizes.num_layers / std::max<int64_t>(model_.transformer.num_layers, 1);
    const auto step = [&](const TransformerInput& of) {
      const at::Tensor velocity = model->Forward(of, &bound, checkpointed);
      torch::autograd::grad({velocity.square().mean()}, {flat});
    };
    return TimeSideBySide(
        count, 1, [&] { step(small); }, [&] { step(input); });
  }

  // Of the targets those that a shortened model has.
  std::shared_ptr<const LoraLayout> Layout(const Transformer& model) const {
    std::vector<std::string> there;
    for (const std::string& suffix : config_.lora().target_modules())
      if (model.MakeLoraLayout({suffix}, 1, 1).ok()) there.push_back(suffix);
    if (there.empty()) there = {"attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0"};
    return model.MakeLoraLayout(there, config_.lora().rank(), config_.lora().alpha()).value();
  }

  double TimeDecoding(int count) const {
    const auto vae = Vae::MadeUp(model_.vae, dtype_);
    const int64_t scale = int64_t{vae->downscale()} * vae->downscale();
    int64_t height = shape_.height, width = shape_.width;
    while (height * width * scale > kDecodedPixels && height > 1 && width > 1) height /= 2, width /= 2;
    const int64_t rows =
        std::clamp<int64_t>(kDecodedPixels / (height * width * scale), 1, config_.rollout().samples_per_group());
    const at::Tensor latents = at::randn({rows, model_.vae.latent_channels, height, width});
    const auto decode = [&] { vae->Decode(latents); };
    const double seconds = TimeSideBySide(count, budget_.actor_threads, decode, decode);
    const double part = static_cast<double>(height * width) / static_cast<double>(shape_.height * shape_.width);
    return seconds / part / static_cast<double>(rows * count);
  }

  const v1::RunConfig& config_;
  const ModelSizes& model_;
  const ThreadBudget& budget_;
  const LatentShape shape_;
  TransformerConfig sizes_;
  const at::ScalarType dtype_;
};

}  // namespace

absl::StatusOr<PassTimes> MeasurePassTimes(const v1::RunConfig& config, const ModelSizes& model,
                                           const ThreadBudget& budget) {
  FLOWAWR_ASSIGN_OR_RETURN(const LatentShape shape, LatentShapeFor(model.transformer, model.vae.downscale(),
                                                                   config.model().height(), config.model().width()));
  try {
    return Measurement(config, model, budget, shape).Measure();
  } catch (const c10::Error& error) {
    return absl::InternalError(absl::StrCat("timing the model failed: ", error.what_without_backtrace()));
  }
}

}  // namespace flowawr
