// How pictures are laid out in one that shows them together, each over its caption.
#pragma once

#include <cstddef>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/caption.h"
#include "common/tensor/image.h"

namespace flowawr {

constexpr int kGridGap = 4;  // pixels, between pictures and around them

// The place of a picture in a grid, in pixels, with its frame (a grey line, as pictures may be white) and its caption.
// Pictures narrower than 160 pixels are enlarged by a whole factor, so that a caption of some words has room. Pure.
struct GridCell {
  int zoom = 1;
  int height = 0;
  int width = 0;
};
GridCell GridCellFor(int height, int width, bool has_note);

struct GridShape {
  int columns = 1;
  size_t images = 0;  // the first so many fit
};

// `columns` in a row if that is no wider than 16384 pixels, and as many rows as 2^26 pixels hold: what EncodePng()
// takes and people can look at. `columns` 0: about as many as rows. A cell larger than that gives no images. Pure.
GridShape FitGrid(size_t images, int columns, const GridCell& cell);

struct CaptionedImage {
  Image image;
  Caption caption;
};

// At least one picture, all of one size, in reading order. Errors as of CaptionFont::Load(). Same input, same pixels.
absl::StatusOr<Image> DrawGrid(const std::vector<CaptionedImage>& pictures, int columns);

}  // namespace flowawr
