#include "learner/spec_change.h"

#include <algorithm>
#include <map>
#include <tuple>

namespace flowawr {

std::vector<uint64_t> GroupsToMove(std::vector<OutstandingGroup> groups, int groups_per_batch, uint64_t newest_version,
                                   bool is_stuck) {
  std::map<uint64_t, std::vector<OutstandingGroup>> by_spec;
  for (const OutstandingGroup& group : groups)
    if (group.spec_version != newest_version) by_spec[group.spec_version].push_back(group);
  std::vector<uint64_t> moving;
  for (auto& [version, of_spec] : by_spec) {
    // The nearer a group is to its batch, the earlier it is kept.
    std::sort(of_spec.begin(), of_spec.end(), [](const OutstandingGroup& a, const OutstandingGroup& b) {
      return std::tie(a.state, a.group_id) < std::tie(b.state, b.group_id);
    });
    const size_t scored = std::count_if(of_spec.begin(), of_spec.end(), [](const OutstandingGroup& group) {
      return group.state == OutstandingGroup::State::kScored;
    });
    const size_t batch = groups_per_batch;
    const size_t kept = is_stuck ? 0 : std::min(of_spec.size(), (scored + batch - 1) / batch * batch);
    for (size_t i = kept; i < of_spec.size(); ++i) moving.push_back(of_spec[i].group_id);
  }
  std::sort(moving.begin(), moving.end());
  return moving;
}

}  // namespace flowawr
