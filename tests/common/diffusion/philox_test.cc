#include "common/diffusion/philox.h"

#include <gtest/gtest.h>

namespace flowawr {
namespace {

using Words = std::array<uint32_t, 4>;

// kat_vectors of Random123, "philox4x32 10".
TEST(PhiloxTest, GivesTheKnownAnswersOfRandom123) {
  EXPECT_EQ(Philox4x32({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(Philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(PhiloxTest, ChangesHalfOfTheBitsWithAnyBitOfCounterOrKey) {
  const Words base = Philox4x32({1, 2, 3, 4}, {5, 6});
  for (int bit = 0; bit < 192; ++bit) {
    Words counter = {1, 2, 3, 4};
    std::array<uint32_t, 2> key = {5, 6};
    (bit < 128 ? counter[bit / 32] : key[(bit - 128) / 32]) ^= uint32_t{1} << (bit % 32);
    const Words other = Philox4x32(counter, key);
    int changed = 0;
    for (int i = 0; i < 4; ++i) changed += __builtin_popcount(base[i] ^ other[i]);
    EXPECT_NEAR(changed, 64, 30) << bit;  // standard deviation 5.7
  }
}

}  // namespace
}  // namespace flowawr
