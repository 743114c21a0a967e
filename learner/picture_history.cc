#include "learner/picture_history.h"

#include <iterator>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"

namespace flowawr {
namespace {

constexpr char kPrefix[] = "update-";

}  // namespace

std::string PictureHistoryFolder(uint64_t update) { return absl::StrFormat("%s%06d", kPrefix, update); }

std::optional<uint64_t> UpdateOfPictureFolder(const std::string& name) {
  uint64_t update = 0;
  if (!absl::StartsWith(name, kPrefix) || !absl::SimpleAtoi(name.substr(sizeof(kPrefix) - 1), &update)) return std::nullopt;
  return PictureHistoryFolder(update) == name ? std::optional(update) : std::nullopt;
}

std::optional<uint64_t> UpdateToForget(const std::set<uint64_t>& updates, size_t most) {
  if (updates.size() <= most || updates.size() < 3) return std::nullopt;
  std::optional<uint64_t> least;
  uint64_t least_gap = 0;
  for (auto it = std::next(updates.begin()); std::next(it) != updates.end(); ++it) {
    const uint64_t gap = *std::next(it) - *std::prev(it);
    if (least && gap >= least_gap) continue;
    least = *it;
    least_gap = gap;
  }
  return least;
}

}  // namespace flowawr
