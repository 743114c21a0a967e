#include "learner/not_finite.h"

#include "absl/strings/str_cat.h"

namespace flowawr {
namespace {

constexpr size_t kMostNamed = 5;

}  // namespace

std::string DescribeMadeGroup(const Group& group) {
  return absl::StrCat(NameOf(group.lease), ", attempt ", group.header.lease().attempt(), " of actor ",
                      group.header.actor_id(), ", policy version ", group.lease.policy_version());
}

absl::Status NotFiniteError(uint64_t update, const std::vector<Group>& batch, const std::vector<size_t>& not_finite) {
  std::string text = absl::StrCat("loss or gradient of update ", update, " is not finite, so that it was not made: ");
  if (not_finite.empty() || not_finite.size() == batch.size())
    return absl::InternalError(absl::StrCat(
        text, "that of ", not_finite.empty() ? "no single group, but their sum" : "every group",
        ". The policy itself has gone astray: begin a new run with a lower optimizer.learning_rate"));
  absl::StrAppend(&text, "because of ");
  for (size_t i = 0; i < not_finite.size() && i < kMostNamed; ++i)
    absl::StrAppend(&text, i == 0 ? "" : "; ", DescribeMadeGroup(batch[not_finite[i]]));
  if (not_finite.size() > kMostNamed) absl::StrAppend(&text, "; and ", not_finite.size() - kMostNamed, " more");
  return absl::InternalError(absl::StrCat(
      text, ". If they are one actor's, see to its machine and resume: they are made anew. If they are one prompt's, ",
      "take it out and resume with --accept-changed-prompts"));
}

}  // namespace flowawr
