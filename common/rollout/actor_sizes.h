// How much an actor holds and does at a time: the actor keeps to it, `flowawr plan` counts with it.
#pragma once

#include <cstdint>

namespace flowawr {

inline constexpr int kPromptsKept = 256;    // whose embeddings stay
inline constexpr int kVersionsKept = 2;     // of the policy, adopted
inline constexpr int kEvaluationRows = 16;  // sampled together, where no option says otherwise
inline constexpr int kScoreWorkers = 4;     // likewise; each holds the images of a group
// Decoded at a time: what the decoder's widest feature map may cost. Bits must not vary with anything else.
inline constexpr int64_t kDecodePixels = int64_t{1} << 20;

}  // namespace flowawr
