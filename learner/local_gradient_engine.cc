#include "learner/gradient_workers.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <map>
#include <optional>
#include <set>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/base/usable_cores.h"
#include "common/diffusion/noise.h"
#include "learner/random_streams.h"

namespace flowawr {
namespace {

// Rows [begin, end) of one group, numbered sample by sample.
struct Chunk {
  int group = 0;
  int64_t begin = 0, end = 0;
};

struct ChunkResult {
  at::Tensor gradient;  // of the sum of the rows' losses
  double loss = 0, policy_loss = 0, kl = 0;
  bool is_finite = true;
};

// One pass: a sum is finite unless a term is not, or finite ones overflow.
bool IsFinite(const at::Tensor& values) {
  return std::isfinite(values.sum().item<double>()) || at::isfinite(values).all().item<bool>();
}

std::vector<float> TrainingSigmas(const v1::RunConfig& config, std::vector<float> sigmas) {
  const int steps = static_cast<int>(sigmas.size()) - 1;
  sigmas.resize(std::max(1, static_cast<int>(steps * config.train().timestep_fraction())));
  return sigmas;
}

int ThreadsOf(const v1::RunConfig& config) {
  const int threads = config.train().threads();
  return threads > 0 ? threads : UsableCoresHere().count;
}

}  // namespace

// Threads that live as long as the pool and run one piece of work all at once.
class GradientWorkers::Pool {
 public:
  explicit Pool(int threads) {
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Loop(); });
  }
  ~Pool() {
    {
      const absl::MutexLock lock(&mutex_);
      is_closed_ = true;
    }
    for (std::thread& thread : threads_) thread.join();
  }

  int size() const { return static_cast<int>(threads_.size()); }

  // Returns when every thread has run `work` once. It must not throw.
  void Run(const std::function<void()>& work) {
    const absl::MutexLock lock(&mutex_);
    work_ = &work;
    ++round_;
    running_ = size();
    mutex_.Await(absl::Condition(
        +[](int* running) { return *running == 0; }, &running_));
    work_ = nullptr;
  }

 private:
  void Loop() {
    // Parallel by chunks, not inside them: that scales better and adds up in one order.
    at::set_num_threads(1);
    uint64_t seen = 0;
    while (true) {
      const std::function<void()>* work = nullptr;
      {
        const absl::MutexLock lock(&mutex_);
        const auto has_news = [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return is_closed_ || round_ != seen; };
        mutex_.Await(absl::Condition(&has_news));
        if (is_closed_) return;
        seen = round_;
        work = work_;
      }
      (*work)();
      const absl::MutexLock lock(&mutex_);
      --running_;
    }
  }

  absl::Mutex mutex_;
  const std::function<void()>* work_ ABSL_GUARDED_BY(mutex_) = nullptr;
  uint64_t round_ ABSL_GUARDED_BY(mutex_) = 0;
  int running_ ABSL_GUARDED_BY(mutex_) = 0;
  bool is_closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

// One Compute(): what its chunks read, and their sum.
struct GradientWorkers::Job {
  const Transformer& transformer;
  const v1::RunConfig& config;
  const std::vector<float>& sigmas;
  const int64_t draws;  // sigmas a sample
  const uint64_t update;
  const std::vector<Group>& batch;
  const at::Tensor energies;                                             // [groups, samples] f32
  const at::Tensor leaf;                                                 // the adapter's vector, requiring grad
  const BoundAdapter current;                                            // bound to `leaf`
  const std::map<uint64_t, std::optional<BoundAdapter>> old_by_version;  // nullopt: v_old is v_theta
  const std::vector<Chunk> chunks;
  const std::atomic<bool>& is_cancelled;
  const size_t window;  // how far ahead of the sum chunks may be claimed: bounds the memory of `finished`

  absl::Mutex mutex;
  size_t next_claim ABSL_GUARDED_BY(mutex) = 0;
  size_t next_sum ABSL_GUARDED_BY(mutex) = 0;
  std::map<size_t, ChunkResult> finished ABSL_GUARDED_BY(mutex) = {};  // at or after next_sum
  std::set<size_t> not_finite ABSL_GUARDED_BY(mutex) = {};              // groups
  ChunkResult sum ABSL_GUARDED_BY(mutex) = {};
  absl::Status status ABSL_GUARDED_BY(mutex) = absl::OkStatus();

  void Work() {
    while (const std::optional<size_t> index = Claim()) {
      absl::StatusOr<ChunkResult> result;
      try {
        result = Compute(chunks[*index]);
      } catch (const c10::Error& error) {
        result = absl::InternalError(absl::StrCat("computing the gradient of group ", batch[chunks[*index].group].id(),
                                                  " failed: ", error.what_without_backtrace()));
      } catch (const std::exception& error) {
        result = absl::InternalError(absl::StrCat("computing the gradient of group ", batch[chunks[*index].group].id(),
                                                  " failed: ", error.what()));
      }
      Deliver(*index, std::move(result));
    }
  }

  // The next chunk, or nullopt when there is nothing more to do.
  std::optional<size_t> Claim() {
    const absl::MutexLock lock(&mutex);
    const auto may_claim = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
      return !status.ok() || next_claim >= chunks.size() || next_claim < next_sum + window;
    };
    mutex.Await(absl::Condition(&may_claim));
    if (status.ok() && is_cancelled && next_claim < chunks.size()) {
      status = absl::CancelledError("the update was cancelled while its gradient was computed");
    }
    if (!status.ok() || next_claim >= chunks.size()) return std::nullopt;
    return next_claim++;
  }

  void Deliver(size_t index, absl::StatusOr<ChunkResult> result) {
    const absl::MutexLock lock(&mutex);
    if (!result.ok()) {
      status.Update(result.status());
      return;
    }
    if (!result->is_finite) not_finite.insert(static_cast<size_t>(chunks[index].group));
    finished.emplace(index, *std::move(result));
    for (auto next = finished.find(next_sum); next != finished.end(); next = finished.find(next_sum)) {
      const ChunkResult& chunk = next->second;
      if (sum.gradient.defined()) {
        sum.gradient.add_(chunk.gradient);
      } else {
        sum.gradient = chunk.gradient;
      }
      sum.loss += chunk.loss;
      sum.policy_loss += chunk.policy_loss;
      sum.kl += chunk.kl;
      finished.erase(next);
      ++next_sum;
    }
  }

  ChunkResult Compute(const Chunk& chunk) const {
    const Group& group = batch[chunk.group];
    const int64_t rows = chunk.end - chunk.begin;
    LossInput input;

    // What each row trains on.
    const uint64_t noise_seed = TrainingNoiseSeed(config.seed()) + update;
    std::vector<int64_t> samples;
    std::vector<float> row_sigmas;
    std::vector<at::Tensor> noises;
    for (int64_t row = chunk.begin; row < chunk.end; ++row) {
      const int64_t sample = row / draws;
      const std::vector<int> drawn = DrawSigmas(config.seed(), update, group.id(), sample,
                                                static_cast<int>(sigmas.size()), static_cast<int>(draws));
      samples.push_back(sample);
      row_sigmas.push_back(sigmas[drawn[row % draws]]);
      noises.push_back(InitialNoise(noise_seed, group.id(), static_cast<uint32_t>(row), group.x0.sizes().slice(1)));
    }
    const at::Tensor sample_index = at::tensor(samples, at::kLong);
    input.sigma = at::tensor(row_sigmas, at::kFloat);
    input.x0 = group.x0.index_select(0, sample_index);
    input.energy = energies[chunk.group].index_select(0, sample_index);
    input.x_t = at::lerp(input.x0, at::stack(noises), input.sigma.view({rows, 1, 1, 1}));

    // The three velocities.
    const TransformerInput model_input{.latents = input.x_t,
                                       .sigma = input.sigma,
                                       .prompt_embeds = group.prompt_embeds.unsqueeze(0),
                                       .pooled_prompt_embeds = group.pooled_prompt_embeds.unsqueeze(0)};
    const double kl_beta = config.algorithm().kl_beta();
    const std::optional<BoundAdapter>& old = old_by_version.at(group.lease.policy_version());
    {
      const at::NoGradGuard no_grad;
      if (old) input.v_old = transformer.Forward(model_input, &*old);
      if (kl_beta > 0) input.v_ref = transformer.Forward(model_input, nullptr);
    }
    input.v_theta = transformer.Forward(model_input, &current, config.train().checkpointed_blocks());
    if (!old) input.v_old = input.v_theta.detach();

    const LossOutput output = FlowAwrLoss(input, kl_beta);
    const at::Tensor loss = output.loss.sum();
    ChunkResult result;
    result.gradient = torch::autograd::grad({loss}, {leaf})[0];
    result.loss = output.loss.detach().sum(at::kDouble).item<double>();
    result.policy_loss = output.policy.sum(at::kDouble).item<double>();
    result.kl = output.kl.sum(at::kDouble).item<double>();
    result.is_finite = std::isfinite(result.loss) && IsFinite(result.gradient);
    return result;
  }
};

GradientWorkers::GradientWorkers(std::shared_ptr<const Transformer> transformer, const v1::RunConfig& config,
                                 std::vector<float> sigmas)
    : transformer_(std::move(transformer)),
      config_(config),
      sigmas_(TrainingSigmas(config, std::move(sigmas))),
      pool_(std::make_unique<Pool>(ThreadsOf(config))) {}

GradientWorkers::~GradientWorkers() = default;

absl::StatusOr<BatchGradient> GradientWorkers::Compute(
    uint64_t update, const std::vector<Group>& batch, const BatchEnergies& energies, const LoraAdapter& current,
    const std::function<const LoraAdapter*(uint64_t version)>& old_adapter, const std::atomic<bool>& is_cancelled) {
  const at::Tensor leaf = current.flat().detach().requires_grad_();
  absl::StatusOr<BoundAdapter> bound = transformer_->Bind(LoraAdapter(current.shared_layout(), leaf));
  if (!bound.ok()) return bound.status();

  std::map<uint64_t, std::optional<BoundAdapter>> old_by_version;
  for (const Group& group : batch) {
    const auto [entry, is_new] = old_by_version.try_emplace(group.lease.policy_version());
    if (!is_new) continue;
    const LoraAdapter* adapter = old_adapter(entry->first);
    if (adapter == nullptr) continue;
    // As the current adapter is bound: in bfloat16 a merged one would round differently, and v_theta would be pulled
    // towards the difference. It also needs no copy of the layers.
    absl::StatusOr<BoundAdapter> old_bound = transformer_->Bind(*adapter);
    if (!old_bound.ok()) return old_bound.status();
    entry->second = *std::move(old_bound);
  }

  BatchGradient total;
  std::vector<Chunk> chunks;
  const int64_t draws = std::min<int64_t>(config_.train().timesteps_per_sample(), static_cast<int64_t>(sigmas_.size()));
  for (size_t i = 0; i < batch.size(); ++i) {
    const int64_t rows = batch[i].x0.size(0) * draws;
    total.rows += rows;
    const bool is_still = energies.is_all_equal[i] && !old_by_version.at(batch[i].lease.policy_version());
    if (is_still && config_.algorithm().kl_beta() == 0) continue;
    for (int64_t begin = 0; begin < rows; begin += config_.train().micro_batch()) {
      chunks.push_back({static_cast<int>(i), begin, std::min<int64_t>(rows, begin + config_.train().micro_batch())});
    }
  }

  Job job{.transformer = *transformer_,
          .config = config_,
          .sigmas = sigmas_,
          .draws = draws,
          .update = update,
          .batch = batch,
          .energies = energies.energies,
          .leaf = leaf,
          .current = *std::move(bound),
          .old_by_version = std::move(old_by_version),
          .chunks = std::move(chunks),
          .is_cancelled = is_cancelled,
          .window = 2 * static_cast<size_t>(pool_->size())};
  pool_->Run([&job] { job.Work(); });

  const absl::MutexLock lock(&job.mutex);
  if (!job.status.ok()) return job.status;
  total.gradient = job.sum.gradient.defined() ? job.sum.gradient.div_(total.rows) : at::zeros_like(current.flat());
  total.loss = job.sum.loss / static_cast<double>(total.rows);
  total.policy_loss = job.sum.policy_loss / static_cast<double>(total.rows);
  total.kl = job.sum.kl / static_cast<double>(total.rows);
  total.not_finite.assign(job.not_finite.begin(), job.not_finite.end());
  return total;
}

}  // namespace flowawr
