#include "cli/sample_grid.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace flowawr {
namespace {

constexpr int64_t kMostPixels = int64_t{1} << 26;
constexpr int64_t kMostWidth = 16384;

int64_t Extent(int64_t cells, int side) { return cells * (int64_t{side} + kGridGap) + kGridGap; }

// The most cells of `side` that an extent of `pixels` has room for.
int64_t Cells(int64_t pixels, int side) { return (pixels - kGridGap) / (int64_t{side} + kGridGap); }

}  // namespace

GridShape FitGrid(size_t images, int columns, int height, int width) {
  const auto wanted = static_cast<int64_t>(images);
  int64_t across = columns > 0 ? columns : static_cast<int64_t>(std::ceil(std::sqrt(static_cast<double>(images))));
  across = std::clamp<int64_t>(across, 1, std::max<int64_t>(Cells(kMostWidth, width), 1));
  const int64_t down = Cells(kMostPixels / Extent(across, width), height);
  return {static_cast<int>(across), static_cast<size_t>(std::clamp<int64_t>(across * down, 0, wanted))};
}

}  // namespace flowawr
