// From image tensors to pictures.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "common/tensor/image.h"

namespace flowawr {

// `images` is [B, 3, H, W], any float type and device, values in [0, 1]; values outside are clamped, a NaN is black.
// Rounded to the nearest of 256 levels, as diffusers does.
std::vector<Image> ImagesFromTensor(const at::Tensor& images);

// The same in two steps, for pictures that leave a device while it goes on. First, where `images` are: u8, [B, H, W, 3].
at::Tensor LevelsOf(const at::Tensor& images);
// Then, once these are on the host.
std::vector<Image> ImagesFromLevels(const at::Tensor& levels);

}  // namespace flowawr
