// The bodies of the kernels of GroupNorm + SiLU (GroupNormSiluCall), in three passes: the moments of each chunk of
// pixels, x read once; then each channel's slope and offset; then silu(x * slope + offset).
//
// A block reads whole pixels, so that what lies side by side in memory is read side by side, and all channels' sums are
// taken in one go: of differences from the chunk's first pixel, as sums of squares lose digits far from zero.
#pragma once

#include "common/nn/cuda/elements.h"

namespace flowawr::cuda {

inline constexpr int kMomentLanes = 256;  // of the team that has a chunk
inline constexpr int kFinishLanes = 32;   // of the team that has a group

// Of some values: how many, their mean, and the sum of squared differences from it.
struct Moments {
  float count = 0;
  float mean = 0;
  float squares = 0;
};

FLOWAWR_DEVICE Moments Merged(const Moments& a, const Moments& b) {
  const float count = a.count + b.count;
  if (count == 0) return a;
  const float difference = b.mean - a.mean, share = b.count / count;
  return {count, a.mean + difference * share, a.squares + b.squares + difference * difference * a.count * share};
}

// Where the passes keep what they hand on, in the call's scratch.
FLOWAWR_DEVICE float* ChunkMomentsOf(const GroupNormSiluCall& call, int64_t sample, int64_t chunk, int64_t group) {
  return call.scratch + 2 * ((sample * GroupNormChunks(call) + chunk) * call.groups + group);
}
FLOWAWR_DEVICE float* SlopesOf(const GroupNormSiluCall& call, int64_t sample) {
  return call.scratch + 2 * call.batch * GroupNormChunks(call) * call.groups + sample * 2 * call.channels;
}
FLOWAWR_DEVICE float* OffsetsOf(const GroupNormSiluCall& call, int64_t sample) {
  return SlopesOf(call, sample) + call.channels;
}

FLOWAWR_DEVICE int64_t PixelsOf(const GroupNormSiluCall& call, int64_t chunk) {
  const int64_t left = call.pixels - chunk * kGroupNormChunk;
  return left < kGroupNormChunk ? left : kGroupNormChunk;
}

// How many floats the lanes of a team share: two sums of every element of every lane's pack, and two of every channel.
template <int kWidth, int kLanes>
inline int64_t SharedFloats(const GroupNormSiluCall& call) {
  return 2 * (kLanes * kWidth + call.channels);
}

// Of one chunk of one sample, by a team that shares `shared`.
template <int kWidth, typename T, typename Team>
FLOWAWR_DEVICE void TakeChunkMoments(const Team& team, const GroupNormSiluCall& call, int64_t sample, int64_t chunk,
                                     float* shared) {
  constexpr int kSums = Team::kLanes * kWidth;  // elements of all lanes
  float* const sums = shared;                   // [2][kSums]
  float* const channels = shared + 2 * kSums;   // [2][channels]: mean and squares
  const int pixels = static_cast<int>(PixelsOf(call, chunk)), width = static_cast<int>(call.channels);
  const T* const x = static_cast<const T*>(call.x) + (sample * call.pixels + chunk * kGroupNormChunk) * call.channels;
  const int packs = width / kWidth;
  const int columns = packs < Team::kLanes ? packs : Team::kLanes;  // packs of a pixel that are read side by side
  const int rows = Team::kLanes / columns;                          // pixels that are
  for (int first = 0; first < packs; first += columns) {
    const int taken = packs - first < columns ? packs - first : columns;
    team.ForLanes([&](int lane) {
      const int column = lane % columns, row = lane / columns;
      if (row >= rows || column >= taken) return;
      const T* const from = x + (first + column) * kWidth;
      const Floats<kWidth> pivot = Load<kWidth>(from);
      Floats<kWidth> sum{}, squares{};
      for (int pixel = row; pixel < pixels; pixel += rows) {
        const Floats<kWidth> values = Load<kWidth>(from + int64_t{pixel} * width);
        for (int j = 0; j < kWidth; ++j) {
          const float difference = values.at[j] - pivot.at[j];
          sum.at[j] += difference;
          squares.at[j] += difference * difference;
        }
      }
      for (int j = 0; j < kWidth; ++j) {
        sums[(row * columns + column) * kWidth + j] = sum.at[j];
        sums[kSums + (row * columns + column) * kWidth + j] = squares.at[j];
      }
    });
    team.ForLanes([&](int lane) {
      for (int i = lane; i < taken * kWidth; i += Team::kLanes) {
        float sum = 0, squares = 0;
        for (int row = 0; row < rows; ++row) {
          sum += sums[row * columns * kWidth + i];
          squares += sums[kSums + row * columns * kWidth + i];
        }
        const int channel = first * kWidth + i;
        const float mean = sum / static_cast<float>(pixels);
        channels[channel] = FloatOf(x[channel]) + mean;
        channels[width + channel] = squares - sum * mean;
      }
    });
  }
  team.ForLanes([&](int lane) {
    const int in_group = width / static_cast<int>(call.groups);
    for (int group = lane; group < call.groups; group += Team::kLanes) {
      Moments moments;
      for (int i = group * in_group; i < (group + 1) * in_group; ++i)
        moments = Merged(moments, {static_cast<float>(pixels), channels[i], channels[width + i]});
      float* const out = ChunkMomentsOf(call, sample, chunk, group);
      out[0] = moments.mean;
      out[1] = moments.squares;
    }
  });
}

// Slope and offset of the channels of one group of one sample.
template <typename T, typename Team>
FLOWAWR_DEVICE void FinishGroup(const Team& team, const GroupNormSiluCall& call, int64_t sample, int64_t group) {
  const int64_t in_group = call.channels / call.groups;
  const Moments moments = team.Merge([&](int lane) {
    Moments own;
    for (int64_t chunk = lane; chunk < GroupNormChunks(call); chunk += Team::kLanes) {
      const float* const from = ChunkMomentsOf(call, sample, chunk, group);
      own = Merged(own, {static_cast<float>(PixelsOf(call, chunk) * in_group), from[0], from[1]});
    }
    return own;
  });
  const float scale = InverseRoot(moments.squares / moments.count + call.epsilon);
  team.ForLanes([&](int lane) {
    for (int64_t i = group * in_group + lane; i < (group + 1) * in_group; i += Team::kLanes) {
      const float slope = FloatOf(static_cast<const T*>(call.weight)[i]) * scale;
      SlopesOf(call, sample)[i] = slope;
      OffsetsOf(call, sample)[i] = FloatOf(static_cast<const T*>(call.bias)[i]) - moments.mean * slope;
    }
  });
}

// One pack of one sample, by one lane.
template <int kWidth, typename T>
FLOWAWR_DEVICE void ScaleSiluPack(const GroupNormSiluCall& call, int64_t sample, int64_t pack) {
  const int channel = static_cast<int>(pack % (call.channels / kWidth)) * kWidth;
  const int64_t first = sample * call.pixels * call.channels + pack * kWidth;
  Floats<kWidth> values = Load<kWidth>(static_cast<const T*>(call.x) + first);
  const float* const slopes = SlopesOf(call, sample) + channel;
  const float* const offsets = OffsetsOf(call, sample) + channel;
  for (int j = 0; j < kWidth; ++j) {
    const float value = values.at[j] * slopes[j] + offsets[j];
    values.at[j] = value / (1.0f + expf(-value));
  }
  Store(static_cast<T*>(call.out) + first, values);
}

inline bool FitsPacks(const GroupNormSiluCall& call) {
  return FitsPacks(call.element, {call.x, call.out}, {call.channels});
}

}  // namespace flowawr::cuda
