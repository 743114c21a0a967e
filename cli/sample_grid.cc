#include "cli/sample_grid.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>

#include "common/base/status.h"

namespace flowawr {
namespace {

constexpr int64_t kMostPixels = int64_t{1} << 26;
constexpr int64_t kMostWidth = 16384;
constexpr int kLeastWidth = 160;  // of a picture with its caption
constexpr char kFrame = '\xc8';   // grey level

int64_t Extent(int64_t cells, int side) { return cells * (int64_t{side} + kGridGap) + kGridGap; }

// The most cells of `side` that an extent of `pixels` has room for.
int64_t Cells(int64_t pixels, int side) { return (pixels - kGridGap) / (int64_t{side} + kGridGap); }

Image Framed(const Image& image) {
  Image framed{image.height + 2, image.width + 2, std::string(size_t{3} * (image.width + 2), kFrame)};
  for (int y = 0; y < image.height; ++y) {
    framed.rgb.append(3, kFrame);
    framed.rgb.append(image.rgb, size_t{3} * y * image.width, size_t{3} * image.width);
    framed.rgb.append(3, kFrame);
  }
  framed.rgb.append(size_t{3} * framed.width, kFrame);
  return framed;
}

}  // namespace

GridCell GridCellFor(int height, int width, bool has_note) {
  const int zoom = width >= kLeastWidth ? 1 : (kLeastWidth + width - 1) / width;
  const int framed_width = zoom * width + 2;
  return {zoom, zoom * height + 2 + CaptionFont::HeightFor(framed_width, has_note), framed_width};
}

GridShape FitGrid(size_t images, int columns, const GridCell& cell) {
  const auto wanted = static_cast<int64_t>(images);
  int64_t across = columns > 0 ? columns : static_cast<int64_t>(std::ceil(std::sqrt(static_cast<double>(images))));
  across = std::clamp<int64_t>(across, 1, std::max<int64_t>(Cells(kMostWidth, cell.width), 1));
  const int64_t down = Cells(kMostPixels / Extent(across, cell.width), cell.height);
  return {static_cast<int>(across), static_cast<size_t>(std::clamp<int64_t>(across * down, 0, wanted))};
}

absl::StatusOr<Image> DrawGrid(const std::vector<CaptionedImage>& pictures, int columns) {
  const bool has_note = std::any_of(pictures.begin(), pictures.end(),
                                    [](const CaptionedImage& picture) { return !picture.caption.note.empty(); });
  const Image& first = pictures.front().image;
  const GridCell shape = GridCellFor(first.height, first.width, has_note);
  FLOWAWR_ASSIGN_OR_RETURN(const CaptionFont font, CaptionFont::Load(shape.width));
  std::vector<Image> cells;
  for (const CaptionedImage& picture : pictures) {
    Image cell = Framed(Enlarge(picture.image, shape.zoom));
    cell.rgb += font.Draw(picture.caption, has_note).rgb;
    cell.height = shape.height;
    cells.push_back(std::move(cell));
  }
  return Grid(cells, columns, kGridGap);
}

}  // namespace flowawr
