#include "common/base/quoted_text.h"

#include <algorithm>
#include <vector>

#include "absl/strings/match.h"

namespace flowawr {
namespace {

// What closes a text that the quote there opens; empty for what opens none.
std::vector<absl::string_view> ClosersOf(absl::string_view at) {
  if (absl::StartsWith(at, "\"")) return {"\""};
  if (absl::StartsWith(at, "\u201C")) return {"\u201D"};
  if (absl::StartsWith(at, "\u201E")) return {"\u201C", "\u201D"};
  return {};
}

}  // namespace

std::optional<absl::string_view> FirstQuoted(absl::string_view prompt) {
  for (size_t at = 0; at < prompt.size(); ++at) {
    const std::vector<absl::string_view> closers = ClosersOf(prompt.substr(at));
    if (closers.empty()) continue;
    const size_t begin = at + (prompt[at] == '"' ? 1 : 3);  // bytes of the opening quote
    size_t end = absl::string_view::npos;
    for (const absl::string_view closer : closers) end = std::min(end, prompt.find(closer, begin));
    if (end != absl::string_view::npos) return prompt.substr(begin, end - begin);
  }
  return std::nullopt;
}

}  // namespace flowawr
