#include "learner/batch_figures.h"

#include <ATen/Parallel.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <iterator>

namespace flowawr {
namespace {

// Floats of one sample that are worked on at a time, so that those of all samples of a group stay in the cache.
constexpr int64_t kStretch = 4096;

uint32_t VersionsBehind(uint64_t version, const std::vector<uint64_t>& versions) {
  const auto later =
      std::find_if(versions.rbegin(), versions.rend(), [version](uint64_t other) { return other <= version; });
  return static_cast<uint32_t>(std::distance(versions.rbegin(), later));
}

// Floats of one register or a few: loops over them are unrolled, so that the compiler computes them side by side.
constexpr int64_t kLanes = 8;

void Add(const float* __restrict from, int64_t count, float* __restrict sum) {
  for (int64_t i = 0; i < count; ++i) sum[i] += from[i];
}

// Four rows that lie `stride` apart, so that the sum is read and written once for all of them.
void AddFour(const float* __restrict a, int64_t stride, int64_t count, float* __restrict sum) {
  const float *const b = a + stride, *const c = b + stride, *const d = c + stride;
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (int64_t lane = 0; lane < kLanes; ++lane)
      sum[i + lane] += (a[i + lane] + b[i + lane]) + (c[i + lane] + d[i + lane]);
  for (; i < count; ++i) sum[i] += (a[i] + b[i]) + (c[i] + d[i]);
}

// Of the squared differences.
double SumOfSquares(const float* __restrict a, const float* __restrict b, int64_t count) {
  float lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      const float distance = a[i + lane] - b[i + lane];
      lanes[lane] += distance * distance;
    }
  double sum = 0;
  for (; i < count; ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  for (const float lane : lanes) sum += lane;
  return sum;
}

// Reads x0 [K, ...] f32 once, which LibTorch's operators would do five times: it is most of what a batch is.
double SpreadOf(const at::Tensor& x0) {
  const at::Tensor values = x0.contiguous();
  const int64_t samples = values.size(0), dims = values.numel() / samples;
  const float* const data = values.const_data_ptr<float>();
  double sum = 0;
  float mean[kStretch];
  for (int64_t begin = 0; begin < dims; begin += kStretch) {
    const int64_t count = std::min(kStretch, dims - begin);
    std::fill_n(mean, count, 0.f);
    int64_t added = 0;
    for (; added + 4 <= samples; added += 4) AddFour(data + added * dims + begin, dims, count, mean);
    for (; added < samples; ++added) Add(data + added * dims + begin, count, mean);
    for (int64_t i = 0; i < count; ++i) mean[i] /= static_cast<float>(samples);
    for (int64_t sample = 0; sample < samples; ++sample) sum += SumOfSquares(data + sample * dims + begin, mean, count);
  }
  return std::sqrt(sum / static_cast<double>(samples * dims));
}

double Diversity(const std::vector<Group>& batch) {
  std::vector<double> spreads(batch.size(), 0);
  at::parallel_for(0, static_cast<int64_t>(batch.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      if (batch[i].x0.defined() && batch[i].x0.numel() > 0) spreads[i] = SpreadOf(batch[i].x0);
  });
  double sum = 0;
  for (const double spread : spreads) sum += spread;
  return sum / static_cast<double>(batch.size());
}

double EffectiveSamples(const at::Tensor& signals) {
  const at::Tensor squares = signals.square().sum(-1);
  const at::Tensor counts = signals.abs().sum(-1).square().div(squares).masked_select(squares > 0);
  return counts.numel() == 0 ? 0 : counts.mean().item<double>();
}

std::vector<double> Histogram(const at::Tensor& signals, double clip) {
  std::vector<double> bins(kSignalBins, 0);
  const at::Tensor values = signals.contiguous();
  const double* const data = values.const_data_ptr<double>();
  for (int64_t i = 0; i < values.numel(); ++i) {
    const auto bin = static_cast<int>(std::floor((data[i] / clip + 1) / 2 * kSignalBins));
    bins[std::clamp(bin, 0, kSignalBins - 1)] += 1 / static_cast<double>(values.numel());
  }
  return bins;
}

}  // namespace

BatchFigures MeasureBatch(const std::vector<Group>& batch, const BatchSignals& signals,
                          const std::vector<uint64_t>& versions) {
  BatchFigures figures;
  if (batch.empty()) return figures;
  const double groups = static_cast<double>(batch.size());
  figures.equal_groups_share = static_cast<double>(signals.all_equal_groups) / groups;
  figures.oldest_version = UINT64_MAX;
  for (const Group& group : batch) {
    const uint32_t behind = VersionsBehind(group.lease.policy_version(), versions);
    figures.staleness_mean += behind / groups;
    figures.staleness_max = std::max(figures.staleness_max, behind);
    figures.oldest_version = std::min(figures.oldest_version, group.lease.policy_version());
  }
  figures.diversity = Diversity(batch);
  if (signals.values.numel() == 0) return figures;
  const at::Tensor values = signals.values.to(at::kDouble);
  figures.signal["mean"] = values.mean().item<double>();
  figures.signal["least"] = values.min().item<double>();
  figures.signal["greatest"] = values.max().item<double>();
  figures.effective_samples = EffectiveSamples(values);
  if (signals.clip == 0) return figures;
  // The signals are f32: what was clipped is the nearest one to the limit.
  const double limit = static_cast<double>(static_cast<float>(signals.clip));
  figures.signal["clipped_share"] = values.abs().ge(limit).to(at::kDouble).mean().item<double>();
  figures.signal_histogram = Histogram(values, limit);
  return figures;
}

void ShowBatch(const BatchFigures& batch, const RewardFigures& rewards, v1::Status& status) {
  status.set_equal_groups_share(batch.equal_groups_share);
  status.set_staleness_mean(batch.staleness_mean);
  status.set_staleness_max(batch.staleness_max);
  *status.mutable_energy() = {batch.signal.begin(), batch.signal.end()};
  *status.mutable_reward_by_scorer() = {rewards.by_scorer.begin(), rewards.by_scorer.end()};
}

}  // namespace flowawr
