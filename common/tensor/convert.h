// Copies large tensors out of mapped files, into another type if need be.
#pragma once

#include <ATen/core/Tensor.h>

namespace flowawr {

// Uninitialised, contiguous. Large ones ask for huge pages: filling them and multiplying by them is then faster.
at::Tensor EmptyWeight(at::IntArrayRef shape, at::ScalarType dtype);

// destination := source. Both contiguous, on the CPU, floating-point and of as many elements. Works on several threads
// of its own, whatever LibTorch's setting, and drops the pages of a mapped source as it goes (DropPages), so that only
// a few megabytes of it are in memory at any time.
void ConvertInto(const at::Tensor& destination, const at::Tensor& source);

}  // namespace flowawr
