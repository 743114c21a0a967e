// Which of the groups that are in make the next batch. Pure; not thread-safe.
//
// Strict (max_staleness 0): the next `groups_per_batch` groups by id, in id order, whatever order they came in, so that
// a run is reproducible to the bit. Otherwise: the first complete groups of the oldest reward spec whose policy version
// is not too old. The spec changes at a multiple of `groups_per_batch` only, so each spec's groups fill whole batches
// and no group waits for ever.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <set>
#include <vector>

#include "absl/functional/function_ref.h"
#include "learner/group.h"

namespace flowawr {

class BatchAssembler {
 public:
  struct Options {
    int groups_per_batch = 1;
    int max_staleness = 0;
  };
  // `next_group`: everything below it was consumed; so was `consumed` above it.
  BatchAssembler(const Options& options, uint64_t next_group, std::set<uint64_t> consumed = {});

  void Add(Group group);
  // Groups sampled by a version older than `oldest_version` leave; the caller leases them anew.
  std::vector<Group> TakeStale(uint64_t oldest_version);
  // Those of the given ids that are in leave; the caller leases them anew.
  std::vector<Group> TakeGroups(const std::set<uint64_t>& ids);
  const std::deque<Group>& groups() const { return groups_; }
  // The batch, in id order, or nullopt while it is not complete.
  std::optional<std::vector<Group>> Take();

  // Groups of the next batch that are in.
  int ready() const;
  bool IsConsumed(uint64_t group_id) const { return group_id < next_group_ || consumed_.contains(group_id); }
  uint64_t next_group() const { return next_group_; }
  const std::set<uint64_t>& consumed_above() const { return consumed_; }

 private:
  std::vector<Group> TakeIf(absl::FunctionRef<bool(const Group&)> leaves);
  std::vector<size_t> Candidates() const;  // positions in groups_, at most a batch

  const Options options_;
  uint64_t next_group_;
  std::set<uint64_t> consumed_;
  std::deque<Group> groups_;  // in order of arrival
};

}  // namespace flowawr
