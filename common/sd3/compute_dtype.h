// The configuration's dtypes as LibTorch's.
#pragma once

#include <c10/core/ScalarType.h>

#include "flowawr/v1/config.pb.h"

namespace flowawr {

inline at::ScalarType ScalarTypeOf(v1::ComputeDType dtype) {
  return dtype == v1::BFLOAT16 ? at::kBFloat16 : at::kFloat;
}

}  // namespace flowawr
