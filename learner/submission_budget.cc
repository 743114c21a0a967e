#include "learner/submission_budget.h"

#include "absl/strings/str_cat.h"

namespace flowawr {

absl::Status SubmissionBudget::Reserve(const std::string& actor_id, uint64_t bytes) {
  absl::MutexLock lock(&mutex_);
  const auto found = by_actor_.find(actor_id);
  const Used used = found == by_actor_.end() ? Used() : found->second;
  if (used.groups >= limits_.groups_of_actor || (used.groups > 0 && used.bytes + bytes > limits_.bytes_of_actor))
    return absl::ResourceExhaustedError(absl::StrCat("actor \"", actor_id, "\" sends ", used.groups,
                                                     " groups at once already; send this one when they are through"));
  if (all_.groups > 0 && all_.bytes + bytes > limits_.bytes)
    return absl::ResourceExhaustedError(
        absl::StrCat("groups of ", all_.bytes, " bytes are on their way from all actors; try again soon"));
  Used& of_actor = by_actor_[actor_id];
  for (Used* each : {&of_actor, &all_}) {
    each->bytes += bytes;
    ++each->groups;
  }
  return absl::OkStatus();
}

void SubmissionBudget::Release(const std::string& actor_id, uint64_t bytes) {
  absl::MutexLock lock(&mutex_);
  const auto of_actor = by_actor_.find(actor_id);
  for (Used* each : {&of_actor->second, &all_}) {
    each->bytes -= bytes;
    --each->groups;
  }
  if (of_actor->second.groups == 0) by_actor_.erase(of_actor);
}

}  // namespace flowawr
