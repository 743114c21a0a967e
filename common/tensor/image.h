// Pictures as plain bytes, and PNG and JPEG around them. Needs no LibTorch.
//
// Everything here is pure and thread-safe. A broken file is InvalidArgument; it never ends the process.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace flowawr {

struct Image {
  int height = 0;
  int width = 0;
  std::string rgb;  // height * width * 3 bytes, rows from the top, interleaved
};

// OK, or InvalidArgument that says how the fields disagree.
absl::Status ValidateImage(const Image& image);

// `text` becomes PNG text chunks: keys of 1 to 79 printable ASCII characters, values in UTF-8, with U+FFFD for what a
// chunk cannot hold (malformed UTF-8, NUL). Same input, same bytes.
absl::StatusOr<std::string> EncodePng(const Image& image, const std::map<std::string, std::string>& text = {});

// Any PNG, brought to 8-bit RGB; transparency is laid over white. At most 2^26 pixels.
absl::StatusOr<Image> DecodePng(absl::string_view bytes);

// The text chunks that stand before the pixels, of all three kinds, as UTF-8 (from Latin-1 where they are none); of two
// with one key the first. At most 64 chunks of a megabyte each are read, compressed or not.
absl::StatusOr<std::map<std::string, std::string>> ReadPngText(absl::string_view bytes);

// Baseline or progressive JPEG, grey or colour, as RGB. At most 2^26 pixels. A file that ends early, or is damaged in
// any other way that its decoder notices, is refused, though part of it could be shown; so is CMYK. An orientation in
// its metadata is not applied.
absl::StatusOr<Image> DecodeJpeg(absl::string_view bytes);

// A PNG or a JPEG, told by its first bytes. Refused before any pixel is decoded when a side is longer than `max_side`.
absl::StatusOr<Image> DecodePicture(absl::string_view bytes, int max_side);

// Baseline JPEG, 4:2:0; `quality` in [1, 100].
absl::StatusOr<std::string> EncodeJpeg(const Image& image, int quality);

// Every pixel a square of `factor` by `factor`, at least 1.
Image Enlarge(const Image& image, int factor);

// Every square of `factor` by `factor` pixels, at least 1, as one: their mean. What is left over at the right and the
// bottom is left out, but a side keeps at least one pixel.
Image Shrink(const Image& image, int factor);

// The images in reading order, `columns` a row, `gap` white pixels between and around them. Cells have the size of the
// largest image. An empty list gives an empty image.
Image Grid(const std::vector<Image>& images, int columns, int gap);

}  // namespace flowawr
