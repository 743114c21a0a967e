#include "reward_server/scorer_registry.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/nearest_word.h"
#include "common/base/status.h"

namespace flowawr {

absl::StatusOr<std::shared_ptr<Scorer>> ScorerRegistry::Make(const std::string& kind,
                                                             std::map<std::string, std::string> options,
                                                             const ScorerContext& context) const {
  const auto it = factories_.find(kind);
  if (it == factories_.end())
    return absl::NotFoundError(
        absl::StrCat("unknown scorer kind \"", kind, "\"; this server has ", absl::StrJoin(kinds(), ", "),
                     DidYouMean(kind, kinds())));
  ScorerOptions scorer_options(std::move(options));
  auto scorer = it->second(scorer_options, context);
  if (!scorer.ok()) return Annotate(scorer.status(), absl::StrCat("scorer kind ", kind));
  return scorer;
}

std::vector<std::string> ScorerRegistry::kinds() const {
  std::vector<std::string> kinds;
  for (const auto& [kind, factory] : factories_) kinds.push_back(kind);
  return kinds;
}

}  // namespace flowawr
