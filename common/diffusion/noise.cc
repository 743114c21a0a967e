#include "common/diffusion/noise.h"

#include <torch/types.h>

#include <cmath>

#include "common/diffusion/philox.h"

namespace flowawr {
namespace {

constexpr uint32_t Low(uint64_t value) { return static_cast<uint32_t>(value); }
constexpr uint32_t High(uint64_t value) { return static_cast<uint32_t>(value >> 32); }

}  // namespace

at::Tensor InitialNoise(uint64_t seed, uint64_t group_id, uint32_t sample, at::IntArrayRef shape) {
  at::Tensor noise = at::empty(shape, at::kFloat);
  float* values = noise.data_ptr<float>();
  const int64_t count = noise.numel();
  for (int64_t block = 0; block * 4 < count; ++block) {
    const auto words = Philox4x32({Low(block), sample, Low(group_id), High(group_id)}, {Low(seed), High(seed)});
    for (int pair = 0; pair < 2; ++pair) {
      const double radius = std::sqrt(-2 * std::log((words[2 * pair] + 0.5) * 0x1p-32));
      const double angle = 2 * M_PI * (words[2 * pair + 1] + 0.5) * 0x1p-32;
      const int64_t at = block * 4 + pair * 2;
      if (at < count) values[at] = static_cast<float>(radius * std::cos(angle));
      if (at + 1 < count) values[at + 1] = static_cast<float>(radius * std::sin(angle));
    }
  }
  return noise;
}

}  // namespace flowawr
