#include "common/base/nearest_word.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace flowawr {
namespace {

// Longer ones are no slips of the names that we have, and comparing them would cost time.
constexpr size_t kLongestWord = 200;

// The optimal string alignment distance: insertions, deletions, replacements and swaps of neighbours.
size_t Slips(absl::string_view a, absl::string_view b) {
  std::vector<size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  std::iota(last.begin(), last.end(), 0);
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    std::swap(before, last);
    std::swap(last, row);
  }
  return last.back();
}

// The one candidate that `word` leaves letters out of, like "bf16" of "bfloat16"; "" where several might be meant.
std::string AbbreviatedWord(absl::string_view word, const std::vector<std::string>& candidates) {
  std::string meant;
  for (const std::string& candidate : candidates) {
    const std::string lower = absl::AsciiStrToLower(candidate);
    if (word.size() < 3 || lower.empty() || lower[0] != word[0] || lower.back() != word.back()) continue;
    size_t found = 0;
    for (const char letter : lower) found += found < word.size() && letter == word[found];
    if (found < word.size()) continue;
    if (!meant.empty()) return "";
    meant = candidate;
  }
  return meant;
}

}  // namespace

std::string NearestWord(absl::string_view word, const std::vector<std::string>& candidates) {
  if (word.empty() || word.size() > kLongestWord) return "";
  const std::string lower = absl::AsciiStrToLower(word);
  std::string nearest;
  size_t least = (word.size() <= 3 ? 1 : std::max<size_t>(2, word.size() / 3)) + 1;
  for (const std::string& candidate : candidates) {
    const size_t slips = Slips(lower, absl::AsciiStrToLower(candidate));
    if (slips >= least || slips >= candidate.size()) continue;
    least = slips;
    nearest = candidate;
  }
  return nearest.empty() ? AbbreviatedWord(lower, candidates) : nearest;
}

std::string DidYouMean(absl::string_view word, const std::vector<std::string>& candidates) {
  const std::string nearest = NearestWord(word, candidates);
  return nearest.empty() ? "" : absl::StrCat("; did you mean \"", nearest, "\"?");
}

}  // namespace flowawr
