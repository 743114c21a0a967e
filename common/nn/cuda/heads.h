// The bodies of the kernels that take the fused projections of two streams apart into joint queries, keys and values,
// and of their gradients back: one head of one token by one team.
//
// A token's *units* are its queries', keys' and values' heads, in the order in which its projection has them.
#pragma once

#include "common/nn/cuda/elements.h"

namespace flowawr::cuda {

inline constexpr int kHeadLanes = 8;  // of the team that has a head: with packs, one each of 64 bfloat16 values

// Where a token of the joint sequence is.
struct JointToken {
  int64_t sample;
  int64_t token;      // of the joint sequence
  int stream;         // which of the two
  int64_t of_stream;  // the token's number there
};

template <typename Call>
FLOWAWR_DEVICE int64_t JointTokens(const Call& call) {
  return call.streams[0].tokens + call.streams[1].tokens;
}

// The `index`-th over samples and tokens.
template <typename Call>
FLOWAWR_DEVICE JointToken JointTokenAt(const Call& call, int64_t index) {
  const int64_t tokens = JointTokens(call), token = index % tokens;
  const bool is_second = token >= call.streams[0].tokens;
  return {index / tokens, token, is_second, is_second ? token - call.streams[0].tokens : token};
}

template <typename Call>
FLOWAWR_DEVICE int UnitsOf(const Call& call, const JointToken& at) {
  return static_cast<int>(call.size.heads) * (at.stream == 0 || call.streams[1].has_queries ? 3 : 2);
}

// Which of a projection's three parts, and of what they become: the index into `joint` and `djoint`.
inline constexpr int kQuery = 0, kKey = 1;

// A unit and where its head begins in the projection.
template <typename T>
struct HeadOf {
  int part;
  int head;
  int64_t offset;  // in elements, from where the sample's projection begins
  const T* values;
  const T* norm;  // null: not normed
};

template <typename T, typename Call>
FLOWAWR_DEVICE HeadOf<T> HeadAt(const Call& call, const JointToken& at, int unit) {
  const ProjectedStream& stream = call.streams[at.stream];
  const int heads = static_cast<int>(call.size.heads);
  const int64_t row = static_cast<int64_t>(UnitsOf(call, at)) * call.size.head_dim;
  const int part = unit / heads + (at.stream == 0 || stream.has_queries ? kQuery : kKey);
  const int64_t in_row = unit * call.size.head_dim;
  const void* norm = part == kQuery ? stream.q_norm : part == kKey ? stream.k_norm : nullptr;
  return {part, unit % heads, at.of_stream * row + in_row,
          static_cast<const T*>(stream.projection) + at.sample * stream.batch_stride + at.of_stream * row + in_row,
          static_cast<const T*>(norm)};
}

template <int kWidth, typename Team, typename T>
FLOWAWR_DEVICE float InverseRms(const Team& team, int64_t dim, const T* x, float epsilon) {
  const float squares = SumRow<kWidth>(
      team, dim, [](float value) { return value * value; }, x);
  return InverseRoot(squares / static_cast<float>(dim) + epsilon);
}

template <int kWidth, typename T, typename Team>
FLOWAWR_DEVICE void ComputeUnit(const Team& team, const JoinHeadsCall& call, const JointToken& at, int unit) {
  const HeadOf<T> head = HeadAt<T>(call, at, unit);
  const int64_t dim = call.size.head_dim;
  const int64_t tokens =
      head.part == kQuery && !call.streams[1].has_queries ? call.streams[0].tokens : JointTokens(call);
  T* const out =
      static_cast<T*>(call.joint[head.part]) + ((at.sample * call.size.heads + head.head) * tokens + at.token) * dim;
  if (head.norm == nullptr) {
    MapRow<kWidth>(
        team, dim, [](float value) { return value; }, out, head.values);
    return;
  }
  const float scale = InverseRms<kWidth>(team, dim, head.values, call.epsilon);
  MapRow<kWidth>(
      team, dim, [scale](float value, float weight) { return value * scale * weight; }, out, head.values, head.norm);
}

// With r = 1 / sqrt(mean(x^2) + epsilon) and g = dout * weight: dx = r (g - x r^2 mean(g x)).
template <int kWidth, typename T, typename Team>
FLOWAWR_DEVICE void ComputeUnit(const Team& team, const JoinHeadsBackwardCall& call, const JointToken& at, int unit) {
  const HeadOf<T> head = HeadAt<T>(call, at, unit);
  const int64_t dim = call.size.head_dim;
  const StridedHeads& flow = call.djoint[head.part];
  const T* const dout = static_cast<const T*>(flow.values) + at.sample * flow.batch_stride +
                        head.head * flow.head_stride + at.token * flow.token_stride;
  const int64_t row = static_cast<int64_t>(UnitsOf(call, at)) * dim;
  T* const out =
      static_cast<T*>(call.dprojection[at.stream]) + at.sample * call.streams[at.stream].tokens * row + head.offset;
  if (head.norm == nullptr) {
    MapRow<kWidth>(
        team, dim, [](float value) { return value; }, out, dout);
    return;
  }
  const float scale = InverseRms<kWidth>(team, dim, head.values, call.epsilon);
  const float product = SumRow<kWidth>(
      team, dim, [](float value, float weight, float d) { return value * weight * d; }, head.values, head.norm, dout);
  const float slope = product / static_cast<float>(dim) * scale * scale;
  MapRow<kWidth>(
      team, dim, [=](float value, float weight, float d) { return scale * (d * weight - value * slope); }, out,
      head.values, head.norm, dout);
}

inline bool FitsPacks(DeviceElement element, const HeadsSize& size, const ProjectedStream& stream) {
  return FitsPacks(element, {stream.projection, stream.q_norm, stream.k_norm}, {size.head_dim, stream.batch_stride});
}
inline bool FitsPacks(DeviceElement element, const StridedHeads& heads) {
  return FitsPacks(element, {heads.values}, {heads.batch_stride, heads.head_stride, heads.token_stride});
}
inline bool FitsPacks(const JoinHeadsCall& call) {
  return FitsPacks(call.element, call.size, call.streams[0]) && FitsPacks(call.element, call.size, call.streams[1]) &&
         FitsPacks(call.element, {call.joint[0], call.joint[1], call.joint[2]}, {});
}
inline bool FitsPacks(const JoinHeadsBackwardCall& call) {
  return FitsPacks(call.element, call.size, call.streams[0]) && FitsPacks(call.element, call.size, call.streams[1]) &&
         FitsPacks(call.element, call.djoint[0]) && FitsPacks(call.element, call.djoint[1]) &&
         FitsPacks(call.element, call.djoint[2]) &&
         FitsPacks(call.element, {call.dprojection[0], call.dprojection[1]}, {});
}

}  // namespace flowawr::cuda
