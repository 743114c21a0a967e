#include "reward_server/scorers/ocr_page.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace flowawr {
namespace {

constexpr int kTaps = 4;

// Keys' cubic with a = -1/2.
float Cubic(float x) {
  constexpr float a = -0.5f;
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
  return 0;
}

// For each of the `scale` phases of an output pixel within its input pixel: where its taps begin, and their weights.
struct Phase {
  int first = 0;  // relative to the input pixel
  std::array<float, kTaps> weights{};
};

std::vector<Phase> MakePhases(int scale) {
  std::vector<Phase> phases(scale);
  for (int p = 0; p < scale; ++p) {
    const float centre = (p + 0.5f) / scale - 0.5f;  // in input pixels
    phases[p].first = static_cast<int>(std::floor(centre)) - 1;
    for (int t = 0; t < kTaps; ++t) phases[p].weights[t] = Cubic(centre - (phases[p].first + t));
  }
  return phases;
}

// Taps outside the picture are left out and the others share their weight, as PIL does. `at(i)` reads input pixel i.
template <typename Read>
uint8_t Interpolate(const Phase& phase, int pixel, int size, Read at) {
  float sum = 0, total = 0;
  for (int t = 0; t < kTaps; ++t) {
    const int i = pixel + phase.first + t;
    if (i < 0 || i >= size) continue;
    sum += phase.weights[t] * at(i);
    total += phase.weights[t];
  }
  return static_cast<uint8_t>(std::clamp(sum / total + 0.5f, 0.0f, 255.0f));
}

GrayPage Enlarge(const GrayPage& page, int scale) {
  if (scale == 1) return page;
  const std::vector<Phase> phases = MakePhases(scale);
  GrayPage wide{page.height, page.width * scale, std::vector<uint8_t>(page.pixels.size() * scale)};
  for (int y = 0; y < wide.height; ++y) {
    const uint8_t* row = &page.pixels[static_cast<size_t>(y) * page.width];
    for (int x = 0; x < wide.width; ++x)
      wide.pixels[static_cast<size_t>(y) * wide.width + x] =
          Interpolate(phases[x % scale], x / scale, page.width, [&](int i) { return row[i]; });
  }
  GrayPage large{page.height * scale, wide.width, std::vector<uint8_t>(wide.pixels.size() * scale)};
  for (int y = 0; y < large.height; ++y) {
    for (int x = 0; x < large.width; ++x)
      large.pixels[static_cast<size_t>(y) * large.width + x] =
          Interpolate(phases[y % scale], y / scale, page.height,
                      [&](int i) { return wide.pixels[static_cast<size_t>(i) * wide.width + x]; });
  }
  return large;
}

}  // namespace

GrayPage MakePage(const v1::ScoreItem& item, const PageOptions& options) {
  const int height = static_cast<int>(item.height()), width = static_cast<int>(item.width());
  GrayPage gray{height, width, std::vector<uint8_t>(static_cast<size_t>(height) * width)};
  const auto* rgb = reinterpret_cast<const uint8_t*>(item.image_rgb().data());
  for (size_t i = 0; i < gray.pixels.size(); ++i)
    gray.pixels[i] =
        static_cast<uint8_t>((rgb[3 * i] * 19595 + rgb[3 * i + 1] * 38470 + rgb[3 * i + 2] * 7471 + 0x8000) >> 16);
  const int scale = std::clamp((options.min_height + height - 1) / height, 1, options.max_scale);
  const GrayPage large = Enlarge(gray, scale);
  const int margin = options.margin;
  GrayPage page{large.height + 2 * margin, large.width + 2 * margin, {}};
  page.pixels.assign(static_cast<size_t>(page.height) * page.width, 255);
  for (int y = 0; y < large.height; ++y)
    std::copy_n(&large.pixels[static_cast<size_t>(y) * large.width], large.width,
                &page.pixels[static_cast<size_t>(y + margin) * page.width + margin]);
  return page;
}

}  // namespace flowawr
