// Memory of the host that a device reads and writes while the host goes on.
#pragma once

#include <ATen/core/Tensor.h>

namespace flowawr {

// On the host, contiguous, its values anything. LibTorch frees it when no copy from it or to it is under way.
//
// To know that, LibTorch asks the streams that used it. One of a device that has failed throws; that is from a destructor
// and would end the process there, before it has told anybody why. This memory is then never freed.
at::Tensor EmptyPinned(at::IntArrayRef sizes, at::ScalarType dtype);

}  // namespace flowawr
