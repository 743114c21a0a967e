#include "common/base/last_name.h"

#include "gtest/gtest.h"

namespace flowawr {
namespace {

TEST(LastNameTest, IsTheSameWhateverLeadsToIt) {
  for (const char* path : {"b", "a/b", "/a/b/", "a/b/.", "a/./b//", "a/c/../b"}) EXPECT_EQ(LastName(path), "b") << path;
  EXPECT_EQ(LastName(""), "");
  EXPECT_EQ(LastName("/"), "");
}

}  // namespace
}  // namespace flowawr
