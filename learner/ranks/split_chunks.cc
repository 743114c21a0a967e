#include "learner/ranks/split_chunks.h"

#include <algorithm>
#include <cstdlib>
#include <functional>

namespace flowawr {
namespace {

constexpr int64_t kNodesAPart = 8;

}  // namespace

std::vector<ChunkRange> SplitChunks(const GradientPlan& plan, ChunkRange range, size_t parts) {
  std::vector<int64_t> before = {0};  // chunks of the range that are not idle, before each
  for (size_t i = range.begin; i < range.end; ++i) before.push_back(before.back() + (plan.chunks[i].is_idle ? 0 : 1));
  const auto work = [&](size_t begin, size_t end) {
    begin = std::clamp(begin, range.begin, range.end), end = std::clamp(end, range.begin, range.end);
    return before[end - range.begin] - before[begin - range.begin];
  };

  const int64_t small = std::max<int64_t>(1, before.back() / (kNodesAPart * static_cast<int64_t>(parts)));
  std::vector<size_t> cuts;  // ends of nodes inside the range
  const std::function<void(TreeNode)> visit = [&](TreeNode node) {
    if (node.end - node.begin > 1 && work(node.begin, node.end) > small) {
      visit({node.begin, node.middle()}), visit({node.middle(), node.end});
    } else if (node.end > range.begin && node.end < range.end) {
      cuts.push_back(node.end);
    }
  };
  visit({0, plan.chunks.size()});

  std::vector<ChunkRange> ranges;
  size_t begin = range.begin;
  for (size_t part = 1; part < parts; ++part) {
    const auto wanted = before.back() * static_cast<int64_t>(part) / static_cast<int64_t>(parts);
    const auto off = [&](size_t cut) { return std::abs(work(range.begin, cut) - wanted); };
    const auto cut = std::min_element(cuts.begin(), cuts.end(), [&](size_t a, size_t b) { return off(a) < off(b); });
    if (cut == cuts.end() || work(begin, *cut) <= 0 || work(*cut, range.end) == 0) continue;
    ranges.push_back({begin, *cut});
    begin = *cut;
  }
  if (begin < range.end) ranges.push_back({begin, range.end});
  return ranges;
}

}  // namespace flowawr
