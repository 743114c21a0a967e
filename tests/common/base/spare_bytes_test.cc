#include "common/base/spare_bytes.h"

#include <gtest/gtest.h>

#include <optional>

namespace flowawr {
namespace {

std::string Long(char letter) { return std::string(100'000, letter); }

TEST(SpareBytes, GiveTheMemoryOfWhatNobodyHasAnyMore) {
  SpareBytes spare;
  EXPECT_EQ(spare.Take().capacity(), std::string().capacity());
  std::shared_ptr<const std::string> first = spare.Share(Long('a')), second = first;
  const char* const memory = first->data();
  first.reset();
  EXPECT_NE(spare.Take().data(), memory) << "somebody has it still";
  EXPECT_EQ(*second, Long('a'));
  second.reset();
  std::string taken = spare.Take();
  EXPECT_EQ(taken, "");
  EXPECT_EQ(taken.append(Long('b')).data(), memory);
  EXPECT_EQ(spare.Take().capacity(), std::string().capacity()) << "it is given once";
}

TEST(SpareBytes, KeepTheLargest) {
  SpareBytes spare;
  spare.Share(Long('a'));
  spare.Share("short, though longer than what a string holds in itself");
  EXPECT_GE(spare.Take().capacity(), Long('a').size());
}

TEST(SpareBytes, AreOutlivedByWhatTheyShared) {
  std::optional<SpareBytes> spare(std::in_place);
  const std::shared_ptr<const std::string> bytes = spare->Share(Long('a'));
  spare.reset();
  EXPECT_EQ(*bytes, Long('a'));
}

}  // namespace
}  // namespace flowawr
