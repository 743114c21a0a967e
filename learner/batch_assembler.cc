#include "learner/batch_assembler.h"

#include <algorithm>
#include <utility>

namespace flowawr {

BatchAssembler::BatchAssembler(const Options& options, uint64_t next_group, std::set<uint64_t> consumed)
    : options_(options), next_group_(next_group), consumed_(std::move(consumed)) {}

void BatchAssembler::Add(Group group) { groups_.push_back(std::move(group)); }

std::vector<Group> BatchAssembler::TakeStale(uint64_t oldest_version) {
  return TakeIf([&](const Group& group) { return group.lease.policy_version() < oldest_version; });
}

std::vector<Group> BatchAssembler::TakeGroups(const std::set<uint64_t>& ids) {
  return TakeIf([&](const Group& group) { return ids.contains(group.id()); });
}

std::vector<Group> BatchAssembler::TakeIf(absl::FunctionRef<bool(const Group&)> leaves) {
  const auto first =
      std::stable_partition(groups_.begin(), groups_.end(), [&](const Group& group) { return !leaves(group); });
  std::vector<Group> taken(std::make_move_iterator(first), std::make_move_iterator(groups_.end()));
  groups_.erase(first, groups_.end());
  return taken;
}

std::vector<size_t> BatchAssembler::Candidates() const {
  const uint64_t batch_end = next_group_ + options_.groups_per_batch;
  uint64_t oldest_spec = UINT64_MAX;
  for (const Group& group : groups_) oldest_spec = std::min(oldest_spec, group.lease.reward_spec().version());
  std::vector<size_t> positions;
  for (size_t i = 0; i < groups_.size() && positions.size() < static_cast<size_t>(options_.groups_per_batch); ++i) {
    const bool belongs = options_.max_staleness == 0 ? groups_[i].id() < batch_end
                                                     : groups_[i].lease.reward_spec().version() == oldest_spec;
    if (belongs) positions.push_back(i);
  }
  return positions;
}

int BatchAssembler::ready() const { return static_cast<int>(Candidates().size()); }

std::optional<std::vector<Group>> BatchAssembler::Take() {
  const std::vector<size_t> positions = Candidates();
  if (positions.size() < static_cast<size_t>(options_.groups_per_batch)) return std::nullopt;
  std::vector<Group> batch;
  std::deque<Group> kept;
  for (size_t i = 0, next = 0; i < groups_.size(); ++i) {
    if (next < positions.size() && positions[next] == i) {
      consumed_.insert(groups_[i].id());
      batch.push_back(std::move(groups_[i]));
      ++next;
    } else {
      kept.push_back(std::move(groups_[i]));
    }
  }
  groups_ = std::move(kept);
  while (consumed_.erase(next_group_) > 0) ++next_group_;
  std::sort(batch.begin(), batch.end(), [](const Group& a, const Group& b) { return a.id() < b.id(); });
  return batch;
}

}  // namespace flowawr
