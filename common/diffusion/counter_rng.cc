#include "common/diffusion/counter_rng.h"

#include "common/diffusion/philox.h"

namespace flowawr {
namespace {

// Keeps the decisions' numbers apart from the noise's.
constexpr uint64_t kDecisionKey = 0x8E51'D3C7'60AF'92B4;

constexpr uint32_t Low(uint64_t value) { return static_cast<uint32_t>(value); }
constexpr uint32_t High(uint64_t value) { return static_cast<uint32_t>(value >> 32); }

}  // namespace

uint64_t CounterRng::Next() {
  const uint64_t key = seed_ ^ kDecisionKey;
  const auto words = Philox4x32({Low(position_), High(position_), Low(stream_), High(stream_)}, {Low(key), High(key)});
  ++position_;
  return uint64_t{words[1]} << 32 | words[0];
}

double CounterRng::Uniform() { return static_cast<double>(Next() >> 11) * 0x1p-53; }

uint64_t CounterRng::Below(uint64_t n) {
  const uint64_t rejected_below = (0 - n) % n;  // 2^64 mod n values too many
  uint64_t value = Next();
  while (value < rejected_below) value = Next();
  return value % n;
}

}  // namespace flowawr
