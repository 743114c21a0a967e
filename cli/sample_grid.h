// How pictures are laid out in one that shows them together.
#pragma once

#include <cstddef>

namespace flowawr {

constexpr int kGridGap = 4;  // pixels, between pictures and around them

struct GridShape {
  int columns = 1;
  size_t images = 0;  // the first so many fit
};

// `columns` in a row if that is no wider than 16384 pixels, and as many rows as 2^26 pixels hold: what EncodePng()
// takes and people can look at. `columns` 0: about as many as rows. A picture larger than that gives no images. Pure.
GridShape FitGrid(size_t images, int columns, int height, int width);

}  // namespace flowawr
