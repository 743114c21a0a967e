// The operations of fused_ops.h and group_norm.h that a device may have kernels of its own for, as a table of
// functions.
//
// A plain interface: pointers, sizes and a stream, neither LibTorch nor CUDA. It is what the programs and
// libflowawr_cuda.so (common/nn/cuda/, built by FLOWAWR_CUDA) know of each other, so that one program works with either
// build of LibTorch, with the library and without. Who looks for a table: device_dispatch.h.
//
// All pointers are of the device's memory, all strides count elements; elements are of the type that a call names,
// arithmetic is f32. A call starts its kernels on `stream` of the device that is current and waits for nothing; it
// returns 0 or the error's number. Results have the same bits every time, and a sample's do not depend on its batch.
// Nothing to compute (no rows) is no error. Thread-safe.
#pragma once

#include <cstdint>

namespace flowawr {

inline constexpr int32_t kDeviceKernelsAbi = 1;  // raised with every change of this file

enum class DeviceElement : int32_t { kFloat, kBf16 };

// Activations [batch, tokens, dim], rows contiguous.
struct TokenRows {
  int64_t batch = 0;
  int64_t tokens = 0;
  int64_t dim = 0;
};

// One vector [dim] for each sample, `batch_stride` apart; 0: one for all.
struct SampleVectors {
  const void* values = nullptr;
  int64_t batch_stride = 0;
};

// out = (x - mean) / sqrt(variance + epsilon) * (1 + scale) + shift, statistics over each row.
struct LayerNormModulateCall {
  DeviceElement element = DeviceElement::kFloat;
  TokenRows size;
  const void* x = nullptr;
  int64_t x_batch_stride = 0;  // 0: every sample has the same rows
  SampleVectors shift, scale;
  float epsilon = 0;
  void* out = nullptr;
};

// The gradient with respect to x, [batch, tokens, dim] as `dout` and `dx`.
struct LayerNormModulateBackwardCall {
  DeviceElement element = DeviceElement::kFloat;
  TokenRows size;
  const void* x = nullptr;
  SampleVectors scale;
  float epsilon = 0;
  const void* dout = nullptr;
  void* dx = nullptr;
};

// out = x + gate * y; `out` may be `y`. Without x (null): out = gate * y, which is its gradient with respect to y.
struct GatedResidualCall {
  DeviceElement element = DeviceElement::kFloat;
  TokenRows size;
  const void* x = nullptr;
  int64_t x_batch_stride = 0;
  SampleVectors gate;
  const void* y = nullptr;
  void* out = nullptr;
};

// The tanh approximation of GELU of `count` elements; `out` may be `x`.
struct GeluTanhCall {
  DeviceElement element = DeviceElement::kFloat;
  int64_t count = 0;
  const void* x = nullptr;
  void* out = nullptr;
};

struct GeluTanhBackwardCall {
  DeviceElement element = DeviceElement::kFloat;
  int64_t count = 0;
  const void* x = nullptr;
  const void* dout = nullptr;
  void* dx = nullptr;
};

// One stream of an attention: its fused projection [batch, tokens, 3 * heads * head_dim] of queries, keys and values,
// or [batch, tokens, 2 * heads * head_dim] without queries. The first of two streams has queries.
struct ProjectedStream {
  const void* projection = nullptr;
  int64_t tokens = 0;        // 0: there is no such stream
  int64_t batch_stride = 0;  // 0: every sample has the same tokens
  bool has_queries = true;
  const void* q_norm = nullptr;  // RMSNorm weights [head_dim]; null: no norm
  const void* k_norm = nullptr;
};

struct HeadsSize {
  int64_t batch = 0;
  int64_t heads = 0;
  int64_t head_dim = 0;
};

// Queries, keys and values of both streams, the first's tokens before the second's: [batch, heads, tokens, head_dim],
// contiguous. q has the second stream's tokens only where that has queries. Queries and keys are normed:
// x / sqrt(mean(x^2) + epsilon) * weight, statistics over each head.
struct JoinHeadsCall {
  DeviceElement element = DeviceElement::kFloat;
  HeadsSize size;
  ProjectedStream streams[2];
  float epsilon = 0;
  void* joint[3] = {nullptr, nullptr, nullptr};  // q, k, v
};

// A tensor [batch, heads, tokens, head_dim], contiguous in its last dimension only.
struct StridedHeads {
  const void* values = nullptr;
  int64_t batch_stride = 0;
  int64_t head_stride = 0;
  int64_t token_stride = 0;
};

// The gradients with respect to the projections, contiguous and shaped as they are. Batch strides of the streams are
// not 0 (the gradients of a sample that all share would have to be added up).
struct JoinHeadsBackwardCall {
  DeviceElement element = DeviceElement::kFloat;
  HeadsSize size;
  ProjectedStream streams[2];
  float epsilon = 0;
  StridedHeads djoint[3];
  void* dprojection[2] = {nullptr, nullptr};
};

// silu(group_norm(x)) of images with the channels last: [batch, pixels, channels], contiguous; a group is
// channels / groups channels side by side. `weight` and `bias` are [channels], of x's type. `out` may be `x`.
struct GroupNormSiluCall {
  DeviceElement element = DeviceElement::kFloat;
  int64_t batch = 0;
  int64_t pixels = 0;
  int64_t channels = 0;  // at most kMaxGroupNormChannels
  int64_t groups = 0;
  const void* x = nullptr;
  const void* weight = nullptr;
  const void* bias = nullptr;
  float epsilon = 0;
  float* scratch = nullptr;  // GroupNormScratch() floats
  void* out = nullptr;
};
inline constexpr int64_t kMaxGroupNormChannels = 4096;  // whose moments still fit the memory that a block shares
inline constexpr int64_t kGroupNormChunk = 128;         // pixels whose moments one block takes

constexpr int64_t GroupNormChunks(const GroupNormSiluCall& call) {
  return (call.pixels + kGroupNormChunk - 1) / kGroupNormChunk;
}
// Mean and squares of each chunk's groups, then slope and offset of each sample's channels.
constexpr int64_t GroupNormScratch(const GroupNormSiluCall& call) {
  return 2 * call.batch * (GroupNormChunks(call) * call.groups + call.channels);
}

struct DeviceKernels {
  int32_t abi = 0;                  // kDeviceKernelsAbi of the library; checked before anything else is read
  const char* built_for = nullptr;  // for people: "CUDA 13.0: sm_80, sm_89"
  // Whether the device that is current can run the kernels: 0, or why not (a driver that is too old, another
  // architecture).
  int32_t (*check)() = nullptr;
  const char* (*describe)(int32_t error) = nullptr;

  int32_t (*layer_norm_modulate)(const LayerNormModulateCall& call, void* stream) = nullptr;
  int32_t (*layer_norm_modulate_backward)(const LayerNormModulateBackwardCall& call, void* stream) = nullptr;
  int32_t (*gated_residual)(const GatedResidualCall& call, void* stream) = nullptr;
  int32_t (*gelu_tanh)(const GeluTanhCall& call, void* stream) = nullptr;
  int32_t (*gelu_tanh_backward)(const GeluTanhBackwardCall& call, void* stream) = nullptr;
  int32_t (*join_heads)(const JoinHeadsCall& call, void* stream) = nullptr;
  int32_t (*join_heads_backward)(const JoinHeadsBackwardCall& call, void* stream) = nullptr;
  int32_t (*group_norm_silu)(const GroupNormSiluCall& call, void* stream) = nullptr;
};

// What the library exports.
inline constexpr char kDeviceKernelsSymbol[] = "FlowawrDeviceKernels";
using DeviceKernelsFunction = const DeviceKernels* (*)();

}  // namespace flowawr
