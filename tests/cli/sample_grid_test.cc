#include "cli/sample_grid.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

namespace flowawr {
namespace {

int64_t Pixels(const GridShape& shape, const GridCell& cell) {
  const auto rows = static_cast<int64_t>((shape.images + shape.columns - 1) / shape.columns);
  return (rows * (cell.height + kGridGap) + kGridGap) * (int64_t{shape.columns} * (cell.width + kGridGap) + kGridGap);
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
    const GridCell cell{1, c.height, c.width};
    const GridShape shape = FitGrid(c.images, c.columns, cell);
    EXPECT_EQ(shape.columns, c.expected_columns) << c.images << " of " << c.height << "x" << c.width;
    EXPECT_EQ(shape.images, c.expected_images) << c.images << " of " << c.height << "x" << c.width;
    EXPECT_LE(Pixels(shape, cell), int64_t{1} << 26);
  }
}

TEST(GridCellFor, EnlargesSmallPicturesAndAddsTheCaption) {
  struct Case {
    int height, width, expected_zoom;
  };
  for (const Case& c : {Case{32, 64, 3}, Case{32, 80, 2}, Case{128, 159, 2}, Case{128, 160, 1}, Case{1024, 1024, 1},
                        Case{16, 1, 160}}) {
    const GridCell cell = GridCellFor(c.height, c.width, false);
    EXPECT_EQ(cell.zoom, c.expected_zoom) << c.width;
    EXPECT_EQ(cell.width, c.expected_zoom * c.width + 2);
    EXPECT_EQ(cell.height, c.expected_zoom * c.height + 2 + CaptionFont::HeightFor(cell.width, false));
    EXPECT_GT(GridCellFor(c.height, c.width, true).height, cell.height);
  }
}

TEST(DrawGrid, PutsEachPictureOverItsCaption) {
  // Two pictures of 2x100 pixels: each twice as large in the grid.
  const Image black{2, 100, std::string(600, '\0')}, grey{2, 100, std::string(600, '\x80')};
  const auto grid = DrawGrid({{black, {"first", ""}}, {grey, {"second", ""}}}, 2);
  ASSERT_TRUE(grid.ok()) << grid.status();
  ASSERT_TRUE(ValidateImage(*grid).ok());
  const GridCell cell = GridCellFor(2, 100, false);
  EXPECT_EQ(grid->width, 2 * (cell.width + kGridGap) + kGridGap);
  EXPECT_EQ(grid->height, cell.height + 2 * kGridGap);
  const auto row = [&](int y, int left) {
    return grid->rgb.substr(size_t{3} * (size_t(y) * grid->width + left), size_t{3} * cell.width);
  };
  const int second = 2 * kGridGap + cell.width;
  const std::string grey_line(3, '\xc8');
  for (int y = kGridGap + 1; y < kGridGap + 5; ++y) {
    EXPECT_EQ(row(y, kGridGap), grey_line + std::string(600, '\0') + grey_line);
    EXPECT_EQ(row(y, second), grey_line + std::string(600, '\x80') + grey_line);
  }
  for (const int y : {kGridGap, kGridGap + 5}) EXPECT_EQ(row(y, second), std::string(606, '\xc8'));
  bool differs = false;
  for (int y = kGridGap + 6; y < kGridGap + cell.height; ++y) differs |= row(y, kGridGap) != row(y, second);
  EXPECT_TRUE(differs) << "captions tell pictures apart";
  EXPECT_EQ(grid->rgb, DrawGrid({{black, {"first", ""}}, {grey, {"second", ""}}}, 2)->rgb);
}

}  // namespace
}  // namespace flowawr
