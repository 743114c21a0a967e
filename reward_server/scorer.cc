#include "reward_server/scorer.h"

#include <utility>

namespace flowawr {

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
