// The bodies of the kernels of GELU: one pack of elements by one lane.
#pragma once

#include "common/nn/cuda/elements.h"

namespace flowawr::cuda {

// gelu(x) = x sigmoid(2 u) with u = sqrt(2 / pi) (x + 0.044715 x^3)
inline constexpr float kTwoRootTwoOverPi = 1.5957691216f;
inline constexpr float kCubic = 0.044715f;

FLOWAWR_DEVICE float GeluGate(float x) {
  return 1.0f / (1.0f + expf(-kTwoRootTwoOverPi * x * (1.0f + kCubic * x * x)));
}

FLOWAWR_DEVICE float GeluTanhOf(float x) { return x * GeluGate(x); }

FLOWAWR_DEVICE float GeluTanhSlope(float x) {
  const float gate = GeluGate(x);
  return gate * (1.0f + x * (1.0f - gate) * kTwoRootTwoOverPi * (1.0f + 3.0f * kCubic * x * x));
}

template <int kWidth, typename T>
FLOWAWR_DEVICE void ComputePack(const GeluTanhCall& call, int64_t first) {
  Floats<kWidth> values = Load<kWidth>(static_cast<const T*>(call.x) + first);
  for (int j = 0; j < kWidth; ++j) values.at[j] = GeluTanhOf(values.at[j]);
  Store(static_cast<T*>(call.out) + first, values);
}

template <int kWidth, typename T>
FLOWAWR_DEVICE void ComputePack(const GeluTanhBackwardCall& call, int64_t first) {
  const Floats<kWidth> x = Load<kWidth>(static_cast<const T*>(call.x) + first);
  Floats<kWidth> values = Load<kWidth>(static_cast<const T*>(call.dout) + first);
  for (int j = 0; j < kWidth; ++j) values.at[j] *= GeluTanhSlope(x.at[j]);
  Store(static_cast<T*>(call.dx) + first, values);
}

// The elements are whole packs and then single ones: how many units of work that is, and one of them.
template <int kWidth, typename Call>
FLOWAWR_DEVICE int64_t GeluUnits(const Call& call) {
  return call.count / kWidth + call.count % kWidth;
}
template <int kWidth, typename T, typename Call>
FLOWAWR_DEVICE void ComputeUnit(const Call& call, int64_t unit) {
  const int64_t packs = call.count / kWidth;
  if (unit < packs) {
    ComputePack<kWidth, T>(call, unit * kWidth);
  } else {
    ComputePack<1, T>(call, packs * kWidth + unit - packs);
  }
}

inline bool FitsPacks(const GeluTanhCall& call) { return FitsPacks(call.element, {call.x, call.out}, {}); }
inline bool FitsPacks(const GeluTanhBackwardCall& call) {
  return FitsPacks(call.element, {call.x, call.dout, call.dx}, {});
}

}  // namespace flowawr::cuda
