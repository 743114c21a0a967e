#include "reward_server/scorer.h"

#include <utility>

namespace flowawr {

v1::ScoreItem Scorer::ProbeItem() const {
  constexpr int kSide = 64;
  v1::ScoreItem item;
  item.set_height(kSide);
  item.set_width(kSide);
  std::string& rgb = *item.mutable_image_rgb();
  for (int y = 0; y < kSide; ++y)
    for (int x = 0; x < kSide; ++x)
      for (const int level : {4 * x, 4 * y, 128}) rgb.push_back(static_cast<char>(level));
  item.set_prompt("a sign that says \"A\"");
  return item;
}

v1::ScoreResult RewardResult(double reward) {
  v1::ScoreResult result;
  result.set_reward(reward);
  return result;
}

v1::ScoreResult ErrorResult(v1::ScoreError::Kind kind, std::string message) {
  v1::ScoreResult result;
  result.mutable_error()->set_kind(kind);
  result.mutable_error()->set_message(std::move(message));
  return result;
}

}  // namespace flowawr
