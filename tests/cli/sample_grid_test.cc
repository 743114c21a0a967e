#include "cli/sample_grid.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace flowawr {
namespace {

int64_t Pixels(const GridShape& shape, int height, int width) {
  const auto rows = static_cast<int64_t>((shape.images + shape.columns - 1) / shape.columns);
  return (rows * (height + kGridGap) + kGridGap) * (int64_t{shape.columns} * (width + kGridGap) + kGridGap);
}

TEST(FitGrid, TakesAllPicturesWhereTheyFit) {
  struct Case {
    size_t images;
    int columns, height, width, expected_columns;
    size_t expected_images;
  };
  for (const Case& c : {
           Case{1, 0, 64, 64, 1, 1},
           Case{5, 0, 64, 64, 3, 5},
           Case{12, 4, 64, 64, 4, 12},
           Case{3, 4, 64, 64, 4, 3},               // stopped in the first row
           Case{57, 0, 1024, 1024, 8, 56},         // 8 rows of 8 would be 8228 pixels high and wide
           Case{241, 0, 512, 512, 16, 240},        // likewise
           Case{4000, 1000, 128, 128, 124, 3844},  // not 132004 pixels wide
           Case{2, 0, 16, 1 << 16, 1, 2},          // wider than it may be: one a row
           Case{2, 0, 1 << 14, 1 << 14, 1, 0},     // not even one
           Case{0, 0, 64, 64, 1, 0},
       }) {
    const GridShape shape = FitGrid(c.images, c.columns, c.height, c.width);
    EXPECT_EQ(shape.columns, c.expected_columns) << c.images << " of " << c.height << "x" << c.width;
    EXPECT_EQ(shape.images, c.expected_images) << c.images << " of " << c.height << "x" << c.width;
    EXPECT_LE(Pixels(shape, c.height, c.width), int64_t{1} << 26);
  }
}

}  // namespace
}  // namespace flowawr
