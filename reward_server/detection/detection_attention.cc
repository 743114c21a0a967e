#include "reward_server/detection/detection_attention.h"

#include <torch/types.h>

#include "common/nn/parallel.h"
#include "common/tensor/transfer.h"
#include "reward_server/detection/detection_kernels.h"

namespace flowawr {
namespace {

constexpr int64_t kWindowGrain = 2;
constexpr int64_t kTokenGrain = 64;

kernels::Windows WindowsOf(const at::Tensor& qkv, const WindowAttentionOptions& options) {
  return {.height = qkv.size(1),
          .width = qkv.size(2),
          .window = options.window,
          .shift = options.shift,
          .heads = options.heads,
          .head_dim = qkv.size(3) / 3 / options.heads};
}

// [batch * windows, window^2, channels] of [batch, rows * window, columns * window, channels].
at::Tensor Partition(const at::Tensor& x, int64_t window) {
  return x.reshape({x.size(0), x.size(1) / window, window, x.size(2) / window, window, x.size(3)})
      .transpose(2, 3)
      .reshape({-1, window * window, x.size(3)});
}

// Along an axis, which side of the seam a rolled place is on.
at::Tensor Sides(int64_t size, int64_t window, int64_t shift, at::Device device) {
  const at::Tensor place = at::arange(size, at::TensorOptions(at::kLong).device(device));
  return place.ge(size - window).to(at::kLong) + place.ge(size - shift).to(at::kLong);
}

at::Tensor Float(const at::Tensor& x) { return x.to(at::kFloat).contiguous(); }

}  // namespace

at::Tensor WindowBias(const at::Tensor& table, int64_t window) {
  const int64_t tokens = window * window, padded = (tokens + 15) / 16 * 16;
  const at::Tensor place = at::arange(tokens, at::kLong);
  const at::Tensor y = place.div(window, "floor"), x = place.remainder(window);
  const at::Tensor row = (y.unsqueeze(1) - y.unsqueeze(0) + (window - 1)) * (2 * window - 1) +
                         (x.unsqueeze(1) - x.unsqueeze(0) + (window - 1));
  const at::Tensor rows = MovedTo(row.flatten(), table.device());
  const at::Tensor bias = table.to(at::kFloat).index_select(0, rows).t().reshape({-1, tokens, tokens});
  return at::constant_pad_nd(bias, {0, padded - tokens}, -1e30).contiguous();
}

at::Tensor AttendInWindows(const at::Tensor& qkv, const at::Tensor& padding, const at::Tensor& bias,
                           const WindowAttentionOptions& options) {
  if (!qkv.is_cpu()) return AttendInWindowsByLibTorch(qkv, padding, bias, options);
  const kernels::Windows size = WindowsOf(qkv, options);
  const at::Tensor from = Float(qkv), outside = Float(padding);
  at::Tensor out = at::empty({qkv.size(0), qkv.size(1), qkv.size(2), qkv.size(3) / 3}, from.options());
  const float* from_data = from.const_data_ptr<float>();
  const float* outside_data = outside.const_data_ptr<float>();
  const float* bias_data = bias.const_data_ptr<float>();
  float* out_data = out.mutable_data_ptr<float>();
  ParallelFor(0, qkv.size(0) * size.rows() * size.columns(), kWindowGrain, [&](int64_t begin, int64_t end) {
    kernels::WindowAttention(size, begin, end, from_data, outside_data, bias_data, out_data);
  });
  return out.to(qkv.scalar_type());
}

at::Tensor AttendInWindowsByLibTorch(const at::Tensor& qkv, const at::Tensor& padding, const at::Tensor& bias,
                                     const WindowAttentionOptions& options) {
  const kernels::Windows size = WindowsOf(qkv, options);
  const int64_t batch = qkv.size(0), tokens = size.tokens(), dim = size.heads * size.head_dim;
  const int64_t height = size.rows() * size.window, width = size.columns() * size.window;
  at::Tensor grid = padding.to(qkv.options()).expand({batch, height, width, 3 * dim}).contiguous();
  grid.narrow(1, 0, size.height).narrow(2, 0, size.width).copy_(qkv);
  const at::Tensor windows = Partition(grid.roll({-size.shift, -size.shift}, {1, 2}), size.window)
                                 .view({-1, tokens, 3, size.heads, size.head_dim})
                                 .permute({2, 0, 3, 1, 4});
  at::Tensor mask = bias.narrow(2, 0, tokens).to(qkv.options()).unsqueeze(0);
  if (size.shift > 0) {
    const at::Tensor sides =
        Partition((3 * Sides(height, size.window, size.shift, qkv.device()).unsqueeze(1) +
                   Sides(width, size.window, size.shift, qkv.device()))
                      .view({1, height, width, 1}),
                  size.window)
            .squeeze(2);
    const at::Tensor differ = sides.unsqueeze(1).ne(sides.unsqueeze(2));
    mask = (mask + differ.to(qkv.scalar_type()).mul(-100).unsqueeze(1)).repeat({batch, 1, 1, 1});
  }
  const at::Tensor attended = at::scaled_dot_product_attention(windows[0], windows[1], windows[2], mask);
  return attended.transpose(1, 2)
      .reshape({batch, size.rows(), size.columns(), size.window, size.window, dim})
      .transpose(2, 3)
      .reshape({batch, height, width, dim})
      .roll({size.shift, size.shift}, {1, 2})
      .narrow(1, 0, size.height)
      .narrow(2, 0, size.width)
      .contiguous();
}

at::Tensor SampleDeformably(const at::Tensor& value, const at::Tensor& projection, const SamplingOptions& options) {
  if (!value.is_cpu()) return SampleDeformablyByLibTorch(value, projection, options);
  kernels::Sampling size{.level_count = static_cast<int64_t>(options.levels.size()),
                         .tokens = value.size(1),
                         .heads = options.heads,
                         .head_dim = value.size(2) / options.heads,
                         .points = options.points};
  int64_t first = 0;
  for (size_t l = 0; l < options.levels.size(); ++l) {
    size.levels[l] = {options.levels[l].first, options.levels[l].second, first};
    first += options.levels[l].first * options.levels[l].second;
  }
  const at::Tensor values = Float(value), places = Float(projection);
  at::Tensor out = at::empty_like(values);
  const float* values_data = values.const_data_ptr<float>();
  const float* places_data = places.const_data_ptr<float>();
  float* out_data = out.mutable_data_ptr<float>();
  ParallelFor(0, value.size(0) * value.size(1), kTokenGrain, [&](int64_t begin, int64_t end) {
    kernels::DeformableAttention(size, begin, end, values_data, places_data, out_data);
  });
  return out.to(value.scalar_type());
}

at::Tensor SampleDeformablyByLibTorch(const at::Tensor& value, const at::Tensor& projection,
                                      const SamplingOptions& options) {
  const int64_t batch = value.size(0), tokens = value.size(1), heads = options.heads, points = options.points;
  const int64_t dim = value.size(2) / heads, levels = static_cast<int64_t>(options.levels.size());
  const int64_t samples = heads * levels * points;
  const at::Tensor offsets = projection.narrow(2, 0, 2 * samples).view({batch, tokens, heads, levels, points, 2});
  const at::Tensor weights =
      projection.narrow(2, 2 * samples, samples).view({batch, tokens, heads, levels * points}).softmax(-1);
  std::vector<at::Tensor> own_places;  // of every token, in [0, 1]
  for (const auto& [height, width] : options.levels) {
    const at::Tensor y = (at::arange(height, offsets.options()) + 0.5).div(height).unsqueeze(1).expand({height, width});
    const at::Tensor x = (at::arange(width, offsets.options()) + 0.5).div(width).unsqueeze(0).expand({height, width});
    own_places.push_back(at::stack({x, y}, -1).view({-1, 2}));
  }
  const at::Tensor places = at::cat(own_places).view({1, tokens, 1, 1, 2});
  std::vector<at::Tensor> sampled;
  int64_t first = 0;
  for (int64_t l = 0; l < levels; ++l) {
    const auto [height, width] = options.levels[l];
    const at::Tensor map = value.narrow(1, first, height * width)
                               .transpose(1, 2)
                               .reshape({batch * heads, dim, height, width});
    // Filled where it is needed: no upload.
    const at::Tensor sides =
        at::stack({at::full({}, width, offsets.options()), at::full({}, height, offsets.options())});
    const at::Tensor grid = (2 * (places + offsets.select(3, l) / sides) - 1).transpose(1, 2).flatten(0, 1);
    sampled.push_back(at::grid_sampler_2d(map, grid, /*bilinear*/ 0, /*zeros*/ 0, /*align_corners=*/false));
    first += height * width;
  }
  const at::Tensor shares = weights.transpose(1, 2).reshape({batch * heads, 1, tokens, levels * points});
  return (at::cat(sampled, -1) * shares)
      .sum(-1)
      .view({batch, heads * dim, tokens})
      .transpose(1, 2)
      .contiguous();
}

}  // namespace flowawr
