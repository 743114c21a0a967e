#include "common/scoring/scorer_text.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace flowawr {

absl::StatusOr<v1::LoadScorerRequest> ParseScorer(absl::string_view text) {
  const std::vector<std::string> parts = absl::StrSplit(text, ',');
  const std::vector<std::string> head = absl::StrSplit(parts[0], absl::MaxSplits('=', 1));
  v1::LoadScorerRequest request;
  request.set_name(head[0]);
  request.set_kind(head.back());
  if (request.name().empty() || request.kind().empty())
    return absl::InvalidArgumentError(absl::StrCat("\"", text, "\": expected NAME[=KIND][,option=value...]"));
  for (size_t i = 1; i < parts.size(); ++i) {
    const std::vector<std::string> option = absl::StrSplit(parts[i], absl::MaxSplits('=', 1));
    if (option.size() != 2 || option[0].empty() || option[1].empty())
      return absl::InvalidArgumentError(absl::StrCat("\"", text, "\": \"", parts[i], "\" is not option=value"));
    if (!request.mutable_options()->insert({option[0], option[1]}).second)
      return absl::InvalidArgumentError(absl::StrCat("\"", text, "\": option ", option[0], " is given twice"));
  }
  return request;
}

}  // namespace flowawr
