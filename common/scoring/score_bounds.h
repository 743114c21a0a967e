// What any scorer's answer is held to, on the server that gives it and on the client that takes it: scorers of other
// makers answer the client, too.
#pragma once

#include <cstddef>

#include "flowawr/v1/reward.pb.h"

namespace flowawr {

// A reward beyond it is a fault of its scorer: squares and sums of such values still have all their digits in double.
constexpr double kMaxReward = 1e6;

constexpr size_t kMaxErrorBytes = 1024;
constexpr int kMaxDetails = 16;
constexpr size_t kMaxDetailKeyBytes = 64;
constexpr size_t kMaxDetailBytes = 1024;

// Makes `result` a reward within kMaxReward or a typed error, BROKEN when it was neither; its texts UTF-8 and cut to
// the lengths above; details beyond kMaxDetails are dropped, in the order of their keys.
void BoundResult(v1::ScoreResult& result);

}  // namespace flowawr
