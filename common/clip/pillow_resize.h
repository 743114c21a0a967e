// Pillow's Image.resize() with the bicubic filter, to the byte.
//
// Two passes, across and then down, each rounded to bytes. A pass weighs the pixels within 2 pixels of the smaller of
// both scales by the cubic with a = -1/2, in fixed point of 22 bits: what Pillow does since 3.0 (Resample.c).
#pragma once

#include "common/tensor/image.h"

namespace flowawr {

// `image` is valid (ValidateImage()) with positive sides, and so are `height` and `width`. No LibTorch, thread-safe.
Image PillowBicubic(const Image& image, int height, int width);

}  // namespace flowawr
