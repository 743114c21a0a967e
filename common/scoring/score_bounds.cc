#include "common/scoring/score_bounds.h"

#include <cmath>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/utf8.h"

namespace flowawr {
namespace {

void SetBroken(v1::ScoreResult& result, absl::string_view message) {
  result.mutable_error()->set_kind(v1::ScoreError::BROKEN);
  result.mutable_error()->set_message(std::string(message));
}

void BoundDetails(v1::ScoreResult& result) {
  if (result.details().empty()) return;
  const std::map<std::string, std::string> all(result.details().begin(), result.details().end());
  auto& details = *result.mutable_details();
  details.clear();
  for (const auto& [key, value] : all) {
    if (static_cast<int>(details.size()) == kMaxDetails) break;
    details[TruncateUtf8(key, kMaxDetailKeyBytes)] = TruncateUtf8(value, kMaxDetailBytes);
  }
}

}  // namespace

void BoundResult(v1::ScoreResult& result) {
  if (result.has_error()) {
    if (result.error().kind() == v1::ScoreError::KIND_UNSPECIFIED)
      result.mutable_error()->set_kind(v1::ScoreError::BROKEN);
    result.mutable_error()->set_message(TruncateUtf8(result.error().message(), kMaxErrorBytes));
  } else if (!result.has_reward()) {
    SetBroken(result, "the scorer answered neither a reward nor an error");
  } else if (!(std::abs(result.reward()) <= kMaxReward)) {  // nor NaN
    SetBroken(result, absl::StrCat("the scorer gave the reward ", result.reward(), ", no number of at most ",
                                   kMaxReward, " in size; scale it"));
  }
  BoundDetails(result);
}

}  // namespace flowawr
