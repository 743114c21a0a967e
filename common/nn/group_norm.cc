#include "common/nn/group_norm.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "common/nn/device_dispatch.h"
#include "common/nn/group_norm_kernels.h"
#include "common/nn/parallel.h"

namespace flowawr {
namespace {

using kernels::Bf16;
using kernels::kMomentPixels;
using kernels::Moments;

// Elements that a thread should have to itself, or starting it costs more than it saves.
constexpr int64_t kGrain = int64_t{1} << 16;

struct Images {
  int64_t batch, pixels, channels, groups;
};

// [batch, groups].
template <typename T>
std::vector<Moments> MomentsOf(const Images& size, const T* x) {
  const int64_t chunks = (size.pixels + kMomentPixels - 1) / kMomentPixels;
  std::vector<Moments> by_chunk(size.batch * chunks * size.groups);
  const int64_t grain = std::max<int64_t>(1, kGrain / (kMomentPixels * size.channels));
  ParallelFor(0, size.batch * chunks, grain, [&](int64_t begin, int64_t end) {
    std::vector<float> scratch(2 * size.channels);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i % chunks * kMomentPixels;
      kernels::GroupMoments(std::min(kMomentPixels, size.pixels - first), size.channels, size.groups,
                            x + (i / chunks * size.pixels + first) * size.channels, scratch.data(),
                            &by_chunk[i * size.groups]);
    }
  });
  std::vector<Moments> moments(size.batch * size.groups);
  for (size_t i = 0; i < by_chunk.size(); ++i) {
    moments[i / (chunks * size.groups) * size.groups + i % size.groups].Add(by_chunk[i]);
  }
  return moments;
}

template <typename T>
void Run(const Images& size, const T* x, const float* weight, const float* bias, double epsilon, T* out) {
  const std::vector<Moments> moments = MomentsOf(size, x);
  std::vector<float> slope(size.batch * size.channels), offset(size.batch * size.channels);
  for (int64_t i = 0; i < size.batch * size.channels; ++i) {
    const int64_t channel = i % size.channels;
    const Moments& group = moments[i / (size.channels / size.groups)];
    const double scale = weight[channel] / std::sqrt(group.squares / group.count + epsilon);
    slope[i] = static_cast<float>(scale);
    offset[i] = static_cast<float>(bias[channel] - group.mean * scale);
  }
  const int64_t grain = std::max<int64_t>(1, kGrain / size.channels);
  ParallelFor(0, size.batch * size.pixels, grain, [&](int64_t begin, int64_t end) {
    while (begin < end) {
      const int64_t sample = begin / size.pixels;
      const int64_t pixels = std::min(end, (sample + 1) * size.pixels) - begin;
      kernels::ScaleSilu(pixels, size.channels, x + begin * size.channels, &slope[sample * size.channels],
                         &offset[sample * size.channels], out + begin * size.channels);
      begin += pixels;
    }
  });
}

void RunOnDevice(const DeviceKernels& kernels, const Images& size, const at::Tensor& x, const at::Tensor& weight,
                 const at::Tensor& bias, double epsilon, at::Tensor& out) {
  GroupNormSiluCall call{.element = DeviceElementOf(x),
                         .batch = size.batch,
                         .pixels = size.pixels,
                         .channels = size.channels,
                         .groups = size.groups,
                         .x = x.const_data_ptr(),
                         .weight = weight.const_data_ptr(),
                         .bias = bias.const_data_ptr(),
                         .epsilon = static_cast<float>(epsilon),
                         .out = out.mutable_data_ptr()};
  at::Tensor scratch = at::empty({GroupNormScratch(call)}, x.options().dtype(at::kFloat));
  call.scratch = scratch.mutable_data_ptr<float>();
  StartKernel(kernels, x.device(), &DeviceKernels::group_norm_silu, call);
}

// Whether kernels of ours can take x: on the CPU, or by those of its device.
bool UseKernel(const at::Tensor& x, const DeviceKernels* kernels) {
  if (!x.is_contiguous(at::MemoryFormat::ChannelsLast)) return false;
  if (x.is_cpu()) return x.scalar_type() == at::kBFloat16 || x.scalar_type() == at::kFloat;
  return kernels != nullptr && x.size(1) <= kMaxGroupNormChannels;
}

}  // namespace

at::Tensor GroupNormSilu(at::Tensor x, int64_t groups, const at::Tensor& weight, const at::Tensor& bias,
                         double epsilon) {
  const DeviceKernels* const kernels = DeviceKernelsFor(x);
  if (!UseKernel(x, kernels)) {
    at::Tensor normalised = at::group_norm(x, groups, weight, bias, epsilon);
    return at::silu_(normalised);
  }
  const Images size{x.size(0), x.size(2) * x.size(3), x.size(1), groups};
  at::Tensor out = x.use_count() == 1 && x.storage().use_count() == 1 ? x : at::empty_like(x);
  if (kernels != nullptr) {
    RunOnDevice(*kernels, size, x, weight.to(x.scalar_type()).contiguous(), bias.to(x.scalar_type()).contiguous(),
                epsilon, out);
    return out;
  }
  const at::Tensor weight32 = weight.to(at::kFloat).contiguous(), bias32 = bias.to(at::kFloat).contiguous();
  const void* from = x.const_data_ptr();
  void* to = out.mutable_data_ptr();
  if (x.scalar_type() == at::kBFloat16) {
    Run(size, static_cast<const Bf16*>(from), weight32.const_data_ptr<float>(), bias32.const_data_ptr<float>(), epsilon,
        static_cast<Bf16*>(to));
  } else {
    Run(size, static_cast<const float*>(from), weight32.const_data_ptr<float>(), bias32.const_data_ptr<float>(),
        epsilon, static_cast<float*>(to));
  }
  return out;
}

}  // namespace flowawr
