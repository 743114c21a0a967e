#include "reward_server/detection/detection_kernels.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "common/nn/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "reward_server/detection/detection_kernels.cc"
#include <hwy/foreach_target.h>

#include "common/nn/small_gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace flowawr::kernels::HWY_NAMESPACE {
namespace {

constexpr float kOtherSide = -100.0f;  // the published value: not minus infinity

// The tokens of one window, and one head of them at a time.
struct Window {
  explicit Window(const Windows& size)
      : tokens(size.tokens()),
        padded(size.padded_tokens()),
        dim(size.head_dim),
        padded_dim((size.head_dim + kColumnMultiple - 1) / kColumnMultiple * kColumnMultiple),
        storage(tokens * dim + dim * padded + 2 * tokens * padded_dim + tokens * padded),
        source(tokens),
        side(tokens) {
    q = storage.data();
    k_transposed = q + tokens * dim;
    v = k_transposed + dim * padded;
    out = v + tokens * padded_dim;
    probabilities = out + tokens * padded_dim;
  }

  const int64_t tokens, padded, dim, padded_dim;
  std::vector<float> storage;   // zeros: padding stays zero
  float* q;                     // [tokens, dim]
  float* k_transposed;          // [dim, padded]
  float* v;                     // [tokens, padded_dim]
  float* out;                   // [tokens, padded_dim]
  float* probabilities;         // [tokens, padded]
  std::vector<int64_t> source;  // which token of the image, -1: none
  std::vector<int> side;        // tokens of different sides do not attend to each other
  bool has_sides = false;
};

// Which side of the seam a place of a rolled axis of `size` tokens is on; Swin tells three apart.
HWY_INLINE int SideOf(int64_t place, int64_t size, int64_t window, int64_t shift) {
  return (place >= size - window ? 1 : 0) + (place >= size - shift ? 1 : 0);
}

HWY_INLINE void Place(const Windows& size, int64_t row, int64_t column, Window& window) {
  const int64_t height = size.rows() * size.window, width = size.columns() * size.window;
  for (int64_t i = 0; i < size.window; ++i) {
    for (int64_t j = 0; j < size.window; ++j) {
      const int64_t rolled_y = row * size.window + i, rolled_x = column * size.window + j;
      const int64_t y = (rolled_y + size.shift) % height, x = (rolled_x + size.shift) % width;
      const int64_t t = i * size.window + j;
      window.source[t] = y < size.height && x < size.width ? y * size.width + x : -1;
      if (size.shift > 0)
        window.side[t] =
            3 * SideOf(rolled_y, height, size.window, size.shift) + SideOf(rolled_x, width, size.window, size.shift);
    }
  }
  window.has_sides =
      size.shift > 0 && std::any_of(window.side.begin(), window.side.end(),
                                    [&window](int side) { return side != window.side.front(); });
}

HWY_INLINE void SoftmaxRow(float* row, int64_t count) {
  V highest = Load(row);
  for (int64_t j = kLanes; j < count; j += kLanes) highest = hn::Max(highest, Load(row + j));
  const V maximum = Set(MaxOf(highest));
  V sum = Zero();
  for (int64_t j = 0; j < count; j += kLanes) {
    const V weights = Exp(hn::Sub(Load(row + j), maximum));
    Store(weights, row + j);
    sum = hn::Add(sum, weights);
  }
  const V inverse = Set(1.0f / SumOf(sum));
  for (int64_t j = 0; j < count; j += kLanes) Store(hn::Mul(Load(row + j), inverse), row + j);
}

// One head; `qkv` and `out` are those of the sample.
HWY_INLINE void AttendInWindow(const Windows& size, int64_t head, const float* qkv, const float* padding,
                               const float* bias, float* out, Window& window) {
  const int64_t width = size.heads * size.head_dim;
  for (int64_t t = 0; t < window.tokens; ++t) {
    const float* token = (window.source[t] < 0 ? padding : qkv + window.source[t] * 3 * width) + head * window.dim;
    std::memcpy(window.q + t * window.dim, token, window.dim * sizeof(float));
    for (int64_t i = 0; i < window.dim; ++i) window.k_transposed[i * window.padded + t] = token[width + i];
    std::memcpy(window.v + t * window.padded_dim, token + 2 * width, window.dim * sizeof(float));
  }
  std::memcpy(window.probabilities, bias + head * window.tokens * window.padded,
              window.tokens * window.padded * sizeof(float));
  SmallGemm(window.tokens, window.padded, window.dim, {window.q, window.dim, 1}, window.k_transposed, window.padded,
            {window.probabilities, window.padded, nullptr, true, 1.0f / std::sqrt(static_cast<float>(window.dim))});
  for (int64_t t = 0; t < window.tokens; ++t) {
    float* row = window.probabilities + t * window.padded;
    if (window.has_sides) {
      for (int64_t u = 0; u < window.tokens; ++u) {
        if (window.side[u] != window.side[t]) row[u] += kOtherSide;
      }
    }
    SoftmaxRow(row, window.padded);
  }
  SmallGemm(window.tokens, window.padded_dim, window.tokens, {window.probabilities, window.padded, 1}, window.v,
            window.padded_dim, {window.out, window.padded_dim});
  for (int64_t t = 0; t < window.tokens; ++t) {
    if (window.source[t] < 0) continue;
    std::memcpy(out + window.source[t] * width + head * window.dim, window.out + t * window.padded_dim,
                window.dim * sizeof(float));
  }
}

// A pixel that a point looks at.
struct Corner {
  const float* value;
  float weight;
};

// The pixels around (x, y), in pixel centres of the level, that lie within it.
HWY_INLINE int64_t AddCorners(const SampledLevel& level, float x, float y, float weight, const float* value,
                              int64_t row, Corner* corners) {
  const float left = std::floor(x), top = std::floor(y);
  // Also refuses what is no number.
  if (!(left >= -1 && top >= -1 && left < static_cast<float>(level.width) && top < static_cast<float>(level.height)))
    return 0;
  const int64_t column = static_cast<int64_t>(left), line = static_cast<int64_t>(top);
  const float right_share = x - left, bottom_share = y - top;
  int64_t count = 0;
  for (int64_t i = 0; i < 2; ++i) {
    for (int64_t j = 0; j < 2; ++j) {
      if (line + i < 0 || line + i >= level.height || column + j < 0 || column + j >= level.width) continue;
      const float share = (i == 0 ? 1 - bottom_share : bottom_share) * (j == 0 ? 1 - right_share : right_share);
      corners[count++] = {value + (level.first + (line + i) * level.width + column + j) * row, weight * share};
    }
  }
  return count;
}

// out [dim] = the sum of the corners' values, each times its weight.
HWY_INLINE void SumCorners(const Corner* corners, int64_t count, int64_t dim, float* out) {
  int64_t d = 0;
  for (; d + 2 * kLanes <= dim; d += 2 * kLanes) {
    V first = Zero(), second = Zero();
    for (int64_t c = 0; c < count; ++c) {
      const V weight = Set(corners[c].weight);
      first = hn::MulAdd(weight, Load(corners[c].value + d), first);
      second = hn::MulAdd(weight, Load(corners[c].value + d + kLanes), second);
    }
    Store(first, out + d);
    Store(second, out + d + kLanes);
  }
  for (; d + kLanes <= dim; d += kLanes) {
    V sum = Zero();
    for (int64_t c = 0; c < count; ++c) sum = hn::MulAdd(Set(corners[c].weight), Load(corners[c].value + d), sum);
    Store(sum, out + d);
  }
#if HWY_TARGET != HWY_SCALAR
  const hn::FixedTag<float, 4> four;
  for (; d + 4 <= dim; d += 4) {
    auto sum = hn::Zero(four);
    for (int64_t c = 0; c < count; ++c)
      sum = hn::MulAdd(hn::Set(four, corners[c].weight), hn::LoadU(four, corners[c].value + d), sum);
    hn::StoreU(sum, four, out + d);
  }
#endif
  for (; d < dim; ++d) {
    float sum = 0;
    for (int64_t c = 0; c < count; ++c) sum += corners[c].weight * corners[c].value[d];
    out[d] = sum;
  }
}

// The softmax of `count` logits, at most kMostSamples.
HWY_INLINE void Weights(const float* logits, int64_t count, float* weights) {
  float highest = logits[0];
  for (int64_t i = 1; i < count; ++i) highest = std::max(highest, logits[i]);
  Map(count, [highest](V logit) HWY_ATTR { return Exp(hn::Sub(logit, Set(highest))); }, weights, logits);
  float sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += weights[i];
  for (int64_t i = 0; i < count; ++i) weights[i] /= sum;
}

// All heads of the token at (x, y) of its level, as shares of the level's sides.
HWY_INLINE void Sample(const Sampling& size, float x, float y, const float* value, const float* projection,
                       float* out) {
  const int64_t samples = size.level_count * size.points, row = size.heads * size.head_dim;
  const float* logits = projection + size.heads * samples * 2;
  float weights[kMostSamples];
  Corner corners[4 * kMostSamples];
  for (int64_t h = 0; h < size.heads; ++h) {
    Weights(logits + h * samples, samples, weights);
    int64_t count = 0;
    for (int64_t s = 0; s < samples; ++s) {
      const SampledLevel& level = size.levels[s / size.points];
      const float* offset = projection + (h * samples + s) * 2;
      count += AddCorners(level, x * static_cast<float>(level.width) + offset[0] - 0.5f,
                          y * static_cast<float>(level.height) + offset[1] - 0.5f, weights[s],
                          value + h * size.head_dim, row, corners + count);
    }
    SumCorners(corners, count, size.head_dim, out + h * size.head_dim);
  }
}

}  // namespace

void WindowAttention(const Windows& size, int64_t begin, int64_t end, const float* qkv, const float* padding,
                     const float* bias, float* out) {
  Window window(size);
  const int64_t count = size.rows() * size.columns(), image = size.height * size.width;
  const int64_t width = size.heads * size.head_dim;
  for (int64_t item = begin; item < end; ++item) {
    const int64_t sample = item / count;
    Place(size, item % count / size.columns(), item % size.columns(), window);
    for (int64_t h = 0; h < size.heads; ++h)
      AttendInWindow(size, h, qkv + sample * image * 3 * width, padding, bias, out + sample * image * width, window);
  }
}

void DeformableAttention(const Sampling& size, int64_t begin, int64_t end, const float* value, const float* projection,
                         float* out) {
  const int64_t row = size.heads * size.head_dim;
  const int64_t projection_row = size.heads * size.level_count * size.points * 3;
  for (int64_t item = begin; item < end; ++item) {
    const int64_t token = item % size.tokens;
    int64_t l = size.level_count - 1;
    while (l > 0 && token < size.levels[l].first) --l;
    const SampledLevel& own = size.levels[l];
    const int64_t place = token - own.first;
    const float x = (static_cast<float>(place % own.width) + 0.5f) / static_cast<float>(own.width);
    const float y = (static_cast<float>(place / own.width) + 0.5f) / static_cast<float>(own.height);
    Sample(size, x, y, value + (item - token) * row, projection + item * projection_row, out + item * row);
  }
}

}  // namespace flowawr::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace flowawr::kernels {

HWY_EXPORT(WindowAttention);
HWY_EXPORT(DeformableAttention);

void WindowAttention(const Windows& size, int64_t begin, int64_t end, const float* qkv, const float* padding,
                     const float* bias, float* out) {
  FLOWAWR_DISPATCH(WindowAttention)(size, begin, end, qkv, padding, bias, out);
}

void DeformableAttention(const Sampling& size, int64_t begin, int64_t end, const float* value, const float* projection,
                         float* out) {
  FLOWAWR_DISPATCH(DeformableAttention)(size, begin, end, value, projection, out);
}

}  // namespace flowawr::kernels
#endif
