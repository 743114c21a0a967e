#include "learner/policy_source.h"

#include <algorithm>
#include <tuple>

namespace flowawr {
namespace {

constexpr absl::Duration kSoonest = absl::Milliseconds(100), kLatest = absl::Seconds(5);
// Those who wait ask no more than 250 times a second, however many they are: asking costs both ends half a millisecond.
constexpr absl::Duration kBetweenAsking = absl::Milliseconds(4);

bool IsUsable(const PolicySpread::Holder& holder) {
  return holder.failed < kFailuresOfHolder && holder.fetching < kFetchesOfHolder;
}

bool IsBetter(const PolicySpread::Holder& a, const PolicySpread::Holder& b) {
  return std::tie(a.failed, a.fetching, a.served, a.endpoint) < std::tie(b.failed, b.fetching, b.served, b.endpoint);
}

}  // namespace

PolicySource ChoosePolicySource(const PolicySpread& spread) {
  using Kind = PolicySource::Kind;
  if (!spread.others_serve) return {Kind::kLearner};
  if (spread.copies < kCopies && spread.copies_under_way < kCopiesAtOnce) return {Kind::kLearner};
  const PolicySpread::Holder* best = nullptr;
  for (const PolicySpread::Holder& holder : spread.holders)
    if (IsUsable(holder) && (best == nullptr || IsBetter(holder, *best))) best = &holder;
  if (best != nullptr) return {Kind::kPeer, std::string(best->endpoint)};
  if (spread.copies_under_way + spread.fetching == 0) return {Kind::kLearner};
  return {Kind::kLater, "", std::clamp(spread.waiting * kBetweenAsking, kSoonest, kLatest)};
}

}  // namespace flowawr
