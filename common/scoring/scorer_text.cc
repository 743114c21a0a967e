#include "common/scoring/scorer_text.h"

#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"

namespace flowawr {

namespace {

// At the commas without a backslash; backslashes before a comma or another one are taken away.
std::vector<std::string> SplitAtCommas(absl::string_view text) {
  std::vector<std::string> parts(1);
  for (size_t i = 0; i < text.size(); ++i) {
    const bool is_escape = text[i] == '\\' && i + 1 < text.size() && (text[i + 1] == ',' || text[i + 1] == '\\');
    if (!is_escape && text[i] == ',')
      parts.emplace_back();
    else
      parts.back().push_back(text[is_escape ? ++i : i]);
  }
  return parts;
}

std::string Escaped(absl::string_view text) {
  return absl::StrReplaceAll(text, {{",", "\\,"}, {"\\", "\\\\"}});
}

}  // namespace

std::string FormatScorer(const v1::LoadScorerRequest& scorer) {
  std::string text = Escaped(scorer.name());
  if (scorer.kind() != scorer.name() && !scorer.kind().empty()) absl::StrAppend(&text, "=", Escaped(scorer.kind()));
  const std::map<std::string, std::string> options(scorer.options().begin(), scorer.options().end());
  for (const auto& [name, value] : options) absl::StrAppend(&text, ",", Escaped(name), "=", Escaped(value));
  return text;
}

absl::StatusOr<v1::LoadScorerRequest> ParseScorer(absl::string_view text) {
  if (text.empty()) return absl::InvalidArgumentError("the scorer's name is empty; expected NAME[=KIND][,option=value...]");
  const std::vector<std::string> parts = SplitAtCommas(text);
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
