#include "common/clip/pillow_resize.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace flowawr {
namespace {

constexpr int kFractionBits = 22;
constexpr double kSupport = 2;  // of the filter, in pixels of the smaller scale
constexpr int kChannels = 3;

double Cubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

// Which pixels of the input make one of the output.
struct Taps {
  int first = 0;
  std::vector<int32_t> weights;  // sum to 1, in fixed point
};

std::vector<Taps> TapsOf(int in, int out) {
  const double scale = static_cast<double>(in) / out, filter_scale = std::max(scale, 1.0);
  const double support = kSupport * filter_scale;
  std::vector<Taps> taps(out);
  std::vector<double> weights;
  for (int i = 0; i < out; ++i) {
    const double center = (i + 0.5) * scale;
    const int first = std::max(static_cast<int>(center - support + 0.5), 0);
    const int end = std::min(static_cast<int>(center + support + 0.5), in);
    weights.clear();
    double sum = 0;
    for (int x = first; x < end; ++x) {
      weights.push_back(Cubic((x - center + 0.5) * (1.0 / filter_scale)));
      sum += weights.back();
    }
    taps[i].first = first;
    for (double weight : weights) {
      // Divided by the sum as Pillow does it, by way of the reciprocal: the last bit counts.
      if (sum != 0) weight *= 1.0 / sum;
      const double fixed = weight * (1 << kFractionBits);
      taps[i].weights.push_back(static_cast<int32_t>(fixed < 0 ? fixed - 0.5 : fixed + 0.5));
    }
  }
  return taps;
}

uint8_t ToByte(int32_t sum) { return static_cast<uint8_t>(std::clamp(sum >> kFractionBits, 0, 255)); }

constexpr int32_t kHalf = 1 << (kFractionBits - 1);

Image ResizeWidth(const Image& image, int width) {
  const std::vector<Taps> taps = TapsOf(image.width, width);
  Image out{image.height, width, std::string(static_cast<size_t>(image.height) * width * kChannels, '\0')};
  for (int y = 0; y < image.height; ++y) {
    const auto* row =
        reinterpret_cast<const uint8_t*>(image.rgb.data()) + static_cast<size_t>(y) * image.width * kChannels;
    auto* to = reinterpret_cast<uint8_t*>(out.rgb.data()) + static_cast<size_t>(y) * width * kChannels;
    for (const Taps& tap : taps) {
      int32_t sums[kChannels] = {kHalf, kHalf, kHalf};
      const uint8_t* from = row + static_cast<size_t>(tap.first) * kChannels;
      for (const int32_t weight : tap.weights) {
        for (int c = 0; c < kChannels; ++c) sums[c] += from[c] * weight;
        from += kChannels;
      }
      for (const int32_t sum : sums) *to++ = ToByte(sum);
    }
  }
  return out;
}

Image ResizeHeight(const Image& image, int height) {
  const std::vector<Taps> taps = TapsOf(image.height, height);
  const size_t row_bytes = static_cast<size_t>(image.width) * kChannels;
  Image out{height, image.width, std::string(height * row_bytes, '\0')};
  std::vector<int32_t> sums(row_bytes);
  for (int y = 0; y < height; ++y) {
    std::fill(sums.begin(), sums.end(), kHalf);
    for (size_t i = 0; i < taps[y].weights.size(); ++i) {
      const auto* row = reinterpret_cast<const uint8_t*>(image.rgb.data()) + (taps[y].first + i) * row_bytes;
      const int32_t weight = taps[y].weights[i];
      for (size_t x = 0; x < row_bytes; ++x) sums[x] += row[x] * weight;
    }
    auto* to = reinterpret_cast<uint8_t*>(out.rgb.data()) + y * row_bytes;
    for (size_t x = 0; x < row_bytes; ++x) to[x] = ToByte(sums[x]);
  }
  return out;
}

}  // namespace

Image PillowBicubic(const Image& image, int height, int width) {
  // An edge that keeps its length is left as it is, not filtered.
  Image wide = image.width == width ? image : ResizeWidth(image, width);
  return wide.height == height ? wide : ResizeHeight(wide, height);
}

}  // namespace flowawr
