// Copies large tensors out of mapped files, into another type if need be.
#pragma once

#include <ATen/core/Tensor.h>

#include "common/tensor/placement.h"

namespace flowawr {

// Uninitialised, contiguous. Large ones on the CPU ask for huge pages: filling them and multiplying by them is then faster.
at::Tensor EmptyWeight(at::IntArrayRef shape, Placement placement);

// destination := source. Both contiguous, on the CPU, floating-point and of as many elements. Works on several threads
// of its own, whatever LibTorch's setting, and drops the pages of a mapped source as it goes (DropPages), so that only
// a few megabytes of it are in memory at any time.
void ConvertInto(const at::Tensor& destination, const at::Tensor& source);

}  // namespace flowawr
