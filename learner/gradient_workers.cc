#include "learner/gradient_workers.h"

#include <ATen/Parallel.h>
#include <torch/types.h>

#include <algorithm>
#include <map>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/base/status.h"
#include "common/diffusion/noise.h"
#include "learner/random_streams.h"

namespace flowawr {

// Rows of one group: `sample` and `sigma` (an index into sigmas_) side by side.
struct GradientWorkers::Chunk {
  size_t group = 0;  // position in the batch
  std::vector<int64_t> samples;
  std::vector<int> sigmas;
};

namespace {

int ThreadsOf(const v1::TrainConfig& train) {
  return train.threads() > 0 ? train.threads() : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

// The noise that training mixes into one row.
at::Tensor TrainingNoise(uint64_t seed, uint64_t update, uint64_t group, int64_t sample, int sigma, at::IntArrayRef shape) {
  const uint64_t stream = RandomStream(RandomUse::kTrainingNoise, update, group, static_cast<uint64_t>(sigma));
  return InitialNoise(TrainingNoiseSeed(seed), stream, static_cast<uint32_t>(sample), shape);
}

// Adds chunk gradients in chunk order, whatever order they are finished in. Thread-safe.
class OrderedSum {
 public:
  explicit OrderedSum(int64_t size) { total_.gradient = at::zeros({size}); }

  void Add(size_t chunk, BatchGradient part) {
    absl::MutexLock lock(&mutex_);
    waiting_.emplace(chunk, std::move(part));
    for (auto next = waiting_.find(next_); next != waiting_.end(); next = waiting_.find(++next_)) {
      total_.gradient.add_(next->second.gradient);
      total_.loss += next->second.loss;
      total_.kl += next->second.kl;
      total_.rows += next->second.rows;
      waiting_.erase(next);
    }
  }
  void Fail(absl::Status status) {
    absl::MutexLock lock(&mutex_);
    if (status_.ok()) status_ = std::move(status);
  }
  bool has_failed() const {
    absl::MutexLock lock(&mutex_);
    return !status_.ok();
  }
  absl::StatusOr<BatchGradient> Take() {
    absl::MutexLock lock(&mutex_);
    if (!status_.ok()) return status_;
    return std::move(total_);
  }

 private:
  mutable absl::Mutex mutex_;
  size_t next_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<size_t, BatchGradient> waiting_ ABSL_GUARDED_BY(mutex_);
  BatchGradient total_ ABSL_GUARDED_BY(mutex_);
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

GradientWorkers::GradientWorkers(std::shared_ptr<const Transformer> transformer, const v1::RunConfig& config,
                                 std::vector<float> sigmas)
    : transformer_(std::move(transformer)),
      seed_(config.seed()),
      train_(config.train()),
      kl_beta_(config.algorithm().kl_beta()),
      sigmas_(sigmas.begin(),
              sigmas.begin() + static_cast<int64_t>(static_cast<double>(sigmas.size() - 1) * train_.timestep_fraction())) {}

std::vector<GradientWorkers::Chunk> GradientWorkers::MakeChunks(uint64_t update, const std::vector<Group>& batch) const {
  std::vector<Chunk> chunks;
  for (size_t position = 0; position < batch.size(); ++position) {
    Chunk chunk{position, {}, {}};
    for (int64_t sample = 0; sample < batch[position].x0.size(0); ++sample) {
      for (int sigma : DrawSigmas(seed_, update, batch[position].id(), sample, static_cast<int>(sigmas_.size()),
                                  train_.timesteps_per_sample())) {
        chunk.samples.push_back(sample);
        chunk.sigmas.push_back(sigma);
        if (static_cast<int>(chunk.samples.size()) < train_.micro_batch()) continue;
        chunks.push_back(std::exchange(chunk, Chunk{position, {}, {}}));
      }
    }
    if (!chunk.samples.empty()) chunks.push_back(std::move(chunk));
  }
  return chunks;
}

BatchGradient GradientWorkers::ComputeChunk(uint64_t update, const Chunk& chunk, const Group& group,
                                            const at::Tensor& energy, const LoraAdapter& current,
                                            const BoundAdapter* old_adapter, int64_t total_rows) const {
  const int64_t rows = static_cast<int64_t>(chunk.samples.size());
  const at::Tensor samples = at::tensor(chunk.samples, at::kLong);
  std::vector<float> sigma_values;
  std::vector<at::Tensor> noise;
  for (int64_t row = 0; row < rows; ++row) {
    sigma_values.push_back(sigmas_[chunk.sigmas[row]]);
    noise.push_back(TrainingNoise(seed_, update, group.id(), chunk.samples[row], chunk.sigmas[row],
                                  group.x0.sizes().slice(1)));
  }
  LossInput loss;
  loss.x0 = group.x0.index_select(0, samples);
  loss.sigma = at::tensor(sigma_values, at::kFloat);
  loss.energy = energy.index_select(0, samples);
  const at::Tensor t = loss.sigma.view({-1, 1, 1, 1});
  loss.x_t = (1 - t) * loss.x0 + t * at::stack(noise);

  const TransformerInput input{loss.x_t, loss.sigma, group.prompt_embeds.unsqueeze(0),
                               group.pooled_prompt_embeds.unsqueeze(0)};
  const LoraAdapter leaf(current.shared_layout(), current.flat().detach().requires_grad_(true));
  const absl::StatusOr<BoundAdapter> bound = transformer_->Bind(leaf);
  TORCH_CHECK(bound.ok(), std::string(bound.status().message()));
  loss.v_theta = transformer_->Forward(input, &*bound);
  {
    const at::NoGradGuard no_grad;
    loss.v_old = old_adapter == nullptr ? loss.v_theta.detach() : transformer_->Forward(input, old_adapter);
    if (kl_beta_ > 0) loss.v_ref = transformer_->Forward(input, nullptr);
  }
  const LossOutput output = FlowAwrLoss(loss, kl_beta_);
  (output.loss.sum() / static_cast<double>(total_rows)).backward();

  BatchGradient part;
  part.gradient = leaf.flat().grad();
  part.loss = output.loss.detach().sum().item<double>() / static_cast<double>(total_rows);
  part.kl = output.kl.sum().item<double>() / static_cast<double>(total_rows);
  part.rows = rows;
  return part;
}

absl::StatusOr<BatchGradient> GradientWorkers::Compute(
    uint64_t update, const std::vector<Group>& batch, const BatchEnergies& energies, const LoraAdapter& current,
    const std::function<const LoraAdapter*(uint64_t version)>& old_adapter, const std::atomic<bool>& is_cancelled) const {
  const std::vector<Chunk> chunks = MakeChunks(update, batch);
  int64_t total_rows = 0;
  for (const Chunk& chunk : chunks) total_rows += static_cast<int64_t>(chunk.samples.size());
  std::map<uint64_t, std::optional<BoundAdapter>> old_by_version;
  for (const Group& group : batch) {
    const uint64_t version = group.lease.policy_version();
    if (old_by_version.contains(version)) continue;
    std::optional<BoundAdapter>& bound = old_by_version[version];
    if (const LoraAdapter* adapter = old_adapter(version)) {
      FLOWAWR_ASSIGN_OR_RETURN(bound, transformer_->BindMerged(*adapter));
    }
  }

  OrderedSum sum(current.layout().size());
  std::atomic<size_t> next = 0;
  const auto work = [&] {
    at::set_num_threads(1);
    for (size_t i = next++; i < chunks.size() && !sum.has_failed(); i = next++) {
      if (is_cancelled) return sum.Fail(absl::CancelledError("stopped in the middle of an update; a resume makes its groups again"));
      const Group& group = batch[chunks[i].group];
      const std::optional<BoundAdapter>& old = old_by_version.at(group.lease.policy_version());
      try {
        sum.Add(i, ComputeChunk(update, chunks[i], group, energies.energies[static_cast<int64_t>(chunks[i].group)], current,
                                old ? &*old : nullptr, total_rows));
      } catch (const c10::Error& error) {
        sum.Fail(absl::InternalError(absl::StrCat("group ", group.id(), ": ", error.what_without_backtrace())));
      }
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < ThreadsOf(train_); ++i) threads.emplace_back(work);
  for (std::thread& thread : threads) thread.join();
  return sum.Take();
}

}  // namespace flowawr
