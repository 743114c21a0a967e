// Elements and packs of them, as the bodies of the device kernels read and write them.
//
// The bodies (token_rows.h, gelu.h, heads.h, group_norm.h) are plain C++ for any compiler, device code for nvcc. What
// runs them is a *team* of lanes: lanes of a warp or threads of a block on a device (team.cuh), a loop in the tests
// (tests/testing/host_kernels). A team has
//
//   kLanes                                    how many; a power of two
//   ForLanes([](int lane) {...})              every lane; what they write to shared memory is there afterwards
//   Sum([](int lane) { return float; })       over all lanes, as a tree: lanes 16 apart, then 8, 4, 2, 1
//   Merge([](int lane) { return Moments; })   likewise
//
// so that sums are added in the same order on both. A pack is 16 bytes where everything is aligned to that
// (FitsPacks()), else one element.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <type_traits>

#include "common/nn/bf16.h"
#include "common/nn/device_kernels.h"

#ifdef __CUDACC__
#define FLOWAWR_DEVICE __device__ __forceinline__
#else
#define FLOWAWR_DEVICE inline
#endif

namespace flowawr::cuda {

using kernels::Bf16;

inline constexpr int kPackBytes = 16;

template <typename T>
inline constexpr int kPackWidth = kPackBytes / sizeof(T);

FLOWAWR_DEVICE float FloatOf(float x) { return x; }
FLOWAWR_DEVICE float FloatOf(Bf16 x) { return kernels::FloatOf(x); }

template <typename T>
FLOWAWR_DEVICE T ElementOf(float x) {
  if constexpr (std::is_same_v<T, Bf16>) {
    return kernels::Bf16Of(x);
  } else {
    return x;
  }
}

// On a device an instruction of its own, at most two units in the last place off.
FLOWAWR_DEVICE float InverseRoot(float x) {
#ifdef __CUDACC__
  return rsqrtf(x);
#else
  return 1.0f / std::sqrt(x);
#endif
}

template <int kWidth>
struct Floats {
  float at[kWidth];
};

template <typename T, int kWidth>
struct alignas(kWidth * sizeof(T)) Pack {
  T at[kWidth];
};

// `from` is aligned to the pack; so is `to`. One access of 16 bytes on a device.
template <int kWidth, typename T>
FLOWAWR_DEVICE Floats<kWidth> Load(const T* from) {
  Pack<T, kWidth> pack;
#ifdef __CUDACC__
  pack = *reinterpret_cast<const Pack<T, kWidth>*>(from);
#else
  std::memcpy(&pack, from, sizeof(pack));
#endif
  Floats<kWidth> values;
  for (int j = 0; j < kWidth; ++j) values.at[j] = FloatOf(pack.at[j]);
  return values;
}

template <int kWidth, typename T>
FLOWAWR_DEVICE void Store(T* to, const Floats<kWidth>& values) {
  Pack<T, kWidth> pack;
  for (int j = 0; j < kWidth; ++j) pack.at[j] = ElementOf<T>(values.at[j]);
#ifdef __CUDACC__
  *reinterpret_cast<Pack<T, kWidth>*>(to) = pack;
#else
  std::memcpy(to, &pack, sizeof(pack));
#endif
}

// f(i, values...) -> float, of every element that this lane has of the rows [dim] at `rows`, into `out`, which may be
// one of them.
template <int kWidth, typename Team, typename F, typename T, typename... Rows>
FLOWAWR_DEVICE void MapRow(const Team& team, int64_t dim, F f, T* out, const Rows*... rows) {
  team.ForLanes([&](int lane) {
    for (int64_t i = int64_t{lane} * kWidth; i < dim; i += Team::kLanes * kWidth) {
      Floats<kWidth> result;
      [&](const auto&... values) {
        for (int j = 0; j < kWidth; ++j) result.at[j] = f(values.at[j]...);
      }(Load<kWidth>(rows + i)...);
      Store(out + i, result);
    }
  });
}

// The sum of f(values...) over rows [dim].
template <int kWidth, typename Team, typename F, typename... Rows>
FLOWAWR_DEVICE float SumRow(const Team& team, int64_t dim, F f, const Rows*... rows) {
  return team.Sum([&](int lane) {
    float sum = 0;
    for (int64_t i = int64_t{lane} * kWidth; i < dim; i += Team::kLanes * kWidth) {
      [&](const auto&... values) {
        for (int j = 0; j < kWidth; ++j) sum += f(values.at[j]...);
      }(Load<kWidth>(rows + i)...);
    }
    return sum;
  });
}

// Whether packs can be used: all addresses aligned, all lengths and strides whole packs.
inline bool FitsPacks(DeviceElement element, std::initializer_list<const void*> addresses,
                      std::initializer_list<int64_t> lengths) {
  const int width = element == DeviceElement::kBf16 ? kPackWidth<Bf16> : kPackWidth<float>;
  for (const void* address : addresses)
    if (reinterpret_cast<uintptr_t>(address) % kPackBytes != 0) return false;
  for (const int64_t length : lengths)
    if (length % width != 0) return false;
  return true;
}

// A type and a width as arguments.
template <typename T>
struct ElementType {};
template <int kWidth>
struct PackOf {};

// run(ElementType<T>, PackOf<width>) with the type of an element, and the widest packs if they fit.
template <typename Run>
int32_t ForElement(DeviceElement element, bool fits_packs, Run run) {
  const auto with = [&]<typename T>(ElementType<T> type) {
    return fits_packs ? run(type, PackOf<kPackWidth<T>>()) : run(type, PackOf<1>());
  };
  return element == DeviceElement::kBf16 ? with(ElementType<Bf16>()) : with(ElementType<float>());
}

}  // namespace flowawr::cuda
