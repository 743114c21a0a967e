// How far tensors are from each other, in double precision.
#pragma once

#include <torch/types.h>

#include <limits>

namespace flowawr {

// |actual - expected| / |expected|, whatever their types and devices; infinite when the shapes differ.
inline double RelativeError(const at::Tensor& actual, const at::Tensor& expected) {
  if (actual.sizes() != expected.sizes()) return std::numeric_limits<double>::infinity();
  const at::Tensor right = expected.detach().to(at::kCPU, at::kDouble);
  const double norm = right.norm().item<double>(),
               error = (actual.detach().to(at::kCPU, at::kDouble) - right).norm().item<double>();
  return norm == 0 ? error : error / norm;
}

// Of two tensors taken as vectors; 1 if both are zero.
inline double Cosine(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor x = a.detach().to(at::kDouble).flatten(), y = b.detach().to(at::kDouble).flatten();
  const double norms = (x.norm() * y.norm()).item<double>();
  if (norms == 0) return (x.norm() + y.norm()).item<double>() == 0 ? 1 : 0;
  return x.dot(y).item<double>() / norms;
}

}  // namespace flowawr
