#include "learner/batch_figures.h"

#include <algorithm>
#include <iterator>

namespace flowawr {
namespace {

uint32_t VersionsBehind(uint64_t version, const std::vector<uint64_t>& versions) {
  const auto later =
      std::find_if(versions.rbegin(), versions.rend(), [version](uint64_t other) { return other <= version; });
  return static_cast<uint32_t>(std::distance(versions.rbegin(), later));
}

}  // namespace

BatchFigures MeasureBatch(const std::vector<Group>& batch, const BatchEnergies& energies, double energy_clip,
                          const std::vector<uint64_t>& versions) {
  BatchFigures figures;
  if (batch.empty()) return figures;
  const double groups = static_cast<double>(batch.size());
  figures.equal_groups_share = static_cast<double>(energies.all_equal_groups) / groups;
  for (const Group& group : batch) {
    const uint32_t behind = VersionsBehind(group.lease.policy_version(), versions);
    figures.staleness_mean += behind / groups;
    figures.staleness_max = std::max(figures.staleness_max, behind);
  }
  if (energies.energies.numel() == 0) return figures;
  const at::Tensor values = energies.energies.to(at::kDouble);
  figures.energy["mean"] = values.mean().item<double>();
  figures.energy["least"] = values.min().item<double>();
  figures.energy["greatest"] = values.max().item<double>();
  // The energies are f32: what was clipped is the nearest one to the limit.
  const double limit = static_cast<double>(static_cast<float>(energy_clip));
  figures.energy["clipped_share"] = values.abs().ge(limit).to(at::kDouble).mean().item<double>();
  return figures;
}

void ShowBatch(const BatchFigures& batch, const RewardFigures& rewards, v1::Status& status) {
  status.set_equal_groups_share(batch.equal_groups_share);
  status.set_staleness_mean(batch.staleness_mean);
  status.set_staleness_max(batch.staleness_max);
  *status.mutable_energy() = {batch.energy.begin(), batch.energy.end()};
  *status.mutable_reward_by_scorer() = {rewards.by_scorer.begin(), rewards.by_scorer.end()};
}

}  // namespace flowawr
