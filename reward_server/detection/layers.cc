#include "reward_server/detection/layers.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "common/nn/group_norm_kernels.h"
#include "common/nn/parallel.h"

namespace flowawr {
namespace {

using kernels::kMomentPixels;
using kernels::Moments;

constexpr double kEpsilon = 1e-5;

// Of [batch, pixels, channels]: [batch, groups].
std::vector<Moments> MomentsOf(const at::Tensor& x, int64_t groups) {
  const int64_t pixels = x.size(1), channels = x.size(2), chunks = (pixels + kMomentPixels - 1) / kMomentPixels;
  const float* data = x.const_data_ptr<float>();
  std::vector<Moments> by_chunk(x.size(0) * chunks * groups), moments(x.size(0) * groups);
  ParallelFor(0, x.size(0) * chunks, /*grain=*/1, [&](int64_t begin, int64_t end) {
    std::vector<float> scratch(2 * channels);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i % chunks * kMomentPixels;
      kernels::GroupMoments(std::min(kMomentPixels, pixels - first), channels, groups,
                            data + (i / chunks * pixels + first) * channels, scratch.data(), &by_chunk[i * groups]);
    }
  });
  for (size_t i = 0; i < by_chunk.size(); ++i) moments[i / (chunks * groups) * groups + i % groups].Add(by_chunk[i]);
  return moments;
}

}  // namespace

at::Tensor GroupNorm::operator()(const at::Tensor& x) const {
  if (!x.is_cpu()) {
    const at::Tensor channels_first = x.permute({0, 3, 1, 2}).contiguous();
    return at::group_norm(channels_first, groups, weight, bias, kEpsilon).permute({0, 2, 3, 1}).contiguous();
  }
  const int64_t channels = x.size(3);
  const at::Tensor wide = x.to(at::kFloat).contiguous();
  const std::vector<Moments> moments = MomentsOf(wide.flatten(1, 2), groups);
  const at::Tensor slopes = weight.to(at::kFloat).repeat({x.size(0), 1});  // copies
  const at::Tensor offsets = bias.to(at::kFloat).repeat({x.size(0), 1});
  float* slope = slopes.mutable_data_ptr<float>();
  float* offset = offsets.mutable_data_ptr<float>();
  for (int64_t i = 0; i < slopes.numel(); ++i) {
    const Moments& group = moments[i / (channels / groups)];
    const double scale = slope[i] / std::sqrt(group.squares / group.count + kEpsilon);
    slope[i] = static_cast<float>(scale);
    offset[i] = static_cast<float>(offset[i] - group.mean * scale);
  }
  const std::vector<int64_t> shape = {x.size(0), 1, 1, channels};
  return at::addcmul(offsets.view(shape), wide, slopes.view(shape)).to(x.scalar_type());
}

}  // namespace flowawr
