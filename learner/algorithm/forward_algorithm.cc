#include "learner/algorithm/forward_algorithm.h"

#include <torch/types.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "common/config/trained_sigmas.h"
#include "common/diffusion/noise.h"
#include "learner/random_streams.h"

namespace flowawr {
namespace {

std::vector<float> FirstSigmas(const v1::RunConfig& config, std::vector<float> sigmas) {
  sigmas.resize(std::max(1, TrainedSigmas(config)));
  return sigmas;
}

}  // namespace

ForwardAlgorithm::ForwardAlgorithm(const v1::RunConfig& config, std::vector<float> sigmas, Traits traits)
    : traits_(std::move(traits)),
      sampler_(config.sampler()),
      combination_(config.rewards().combination()),
      advantages_{.clip = config.algorithm().advantage_clip(), .std_scope = config.algorithm().std_scope()},
      sigmas_(FirstSigmas(config, std::move(sigmas))),
      draws_(SigmasPerSample(config)) {}

void ForwardAlgorithm::PrepareLease(v1::Lease& lease) const {
  *lease.mutable_sampler() = sampler_;
  lease.clear_stochastic();
}

BatchSignals ForwardAlgorithm::Signals(const at::Tensor& rewards, const std::vector<double>& weights) const {
  BatchSignals signals = CombineRewards(rewards, weights, combination_, advantages_,
                                        [this](const at::Tensor& advantages) { return SignalsOf(advantages); });
  signals.clip = traits_.clip;
  return signals;
}

bool ForwardAlgorithm::Teaches(bool is_all_equal, bool is_old_current) const {
  return !is_all_equal || traits_.needs.reference || (traits_.needs.old && !is_old_current);
}

int64_t ForwardAlgorithm::rows_per_sample() const { return draws_; }

Rows ForwardAlgorithm::MakeRows(const RowRange& range) const {
  const Group& group = *range.group;
  // By update and by row of the whole group: the same noise whatever other samples are trained beside.
  const uint64_t noise_seed = TrainingNoiseSeed(range.seed) + range.update;
  Rows rows;
  std::vector<int64_t> samples;
  std::vector<float> row_sigmas;
  std::vector<at::Tensor> noises;
  for (int64_t row = range.begin; row < range.end; ++row) {
    const int64_t sample = (*range.samples)[row / draws_], draw = row % draws_;
    const std::vector<int> drawn = DrawSigmas(range.seed, range.update, group.id(), sample,
                                              static_cast<int>(sigmas_.size()), static_cast<int>(draws_));
    samples.push_back(sample);
    rows.step.push_back(drawn[draw]);
    row_sigmas.push_back(sigmas_[drawn[draw]]);
    noises.push_back(InitialNoise(noise_seed, group.id(), static_cast<uint32_t>(sample * draws_ + draw),
                                  group.x0.sizes().slice(1)));
  }
  const at::Tensor sample_index = at::tensor(samples, at::kLong);
  rows.sigma = at::tensor(row_sigmas, at::kFloat);
  rows.x0 = group.x0.index_select(0, sample_index);
  rows.signal = range.signals.index_select(0, sample_index);
  rows.noise = at::stack(noises);
  rows.x = at::lerp(rows.x0, rows.noise, AsLatents(rows.sigma));
  return rows;
}

RowLoss ForwardAlgorithm::Loss(const Rows& rows, const Velocities& velocities) const {
  return LossByRows(rows, velocities, traits_.figures,
                    [this](const Rows& some, const Velocities& of_some) { return Values(some, of_some); });
}

}  // namespace flowawr
