// The thin products of a LoRA adapter beside a bfloat16 layer. Activations are bfloat16, the adapter's own matrices are
// rounded to bfloat16 for each product, every sum and every gradient of the adapter is f32.
// CPU with HasBf16Instructions(). Ranges let threads share the work; a result does not depend on how it is cut.
//
//   y += scale * (x A^T) B^T        dh = scale * dy B        dx += dh A        dA = dh^T x        dB = scale * dy^T h
#pragma once

#include <cstdint>
#include <vector>

#include "common/nn/bf16.h"

namespace flowawr::kernels {

inline constexpr int64_t kLoraMultiple = 16;  // of the rank and of every number of features

// One adapted layer among those whose outputs lie side by side.
struct Bf16LoraPart {
  int64_t column = 0;  // first of its outputs
  int64_t width = 0;
};

// An adapter's matrices for one layer (or several with one input), in the orders that the products take. Immutable.
class Bf16Lora {
 public:
  // a [parts * rank, in], b [sum of the parts' widths, rank], f32, contiguous.
  Bf16Lora(const float* a, const float* b, int64_t in, int64_t rank, double scale, std::vector<Bf16LoraPart> parts);

  int64_t in() const { return in_; }
  int64_t rank() const { return rank_; }
  int64_t stacked_rank() const { return rank_ * static_cast<int64_t>(parts_.size()); }
  const std::vector<Bf16LoraPart>& parts() const { return parts_; }

  // h [rows, stacked_rank] = scale * x A^T, rounded; x [rows, in].
  void Down(int64_t rows, const Bf16* x, Bf16* h) const;
  // y [rows, y_row elements each] += h B^T at the parts' columns.
  void Up(int64_t rows, const Bf16* h, Bf16* y, int64_t y_row) const;
  // dh [rows, stacked_rank] = scale * dy B, rounded.
  void DownGradient(int64_t rows, const Bf16* dy, int64_t dy_row, Bf16* dh) const;
  // dx [rows, in] += dh A.
  void UpGradient(int64_t rows, const Bf16* dh, Bf16* dx) const;

 private:
  int64_t in_, rank_;
  float scale_;
  std::vector<Bf16LoraPart> parts_;
  std::vector<uint32_t> a_transposed_;  // paired [in / 2, stacked_rank]
  std::vector<uint32_t> a_;             // paired [stacked_rank / 2, in]
  std::vector<uint32_t> b_transposed_;  // paired [rank / 2, sum of widths]
  std::vector<uint32_t> b_;             // paired [sum of widths / 2, rank]
};

// Columns [begin, end) of out [left_columns, columns] = left^T right, f32, over `rows` rows: left [rows, left_columns],
// right [rows, right_row elements each]. `begin` and `end` are multiples of kLoraMultiple. With `transposes`, out is
// [columns, left_columns] instead.
void Bf16OuterProduct(int64_t rows, const Bf16* left, int64_t left_row, int64_t left_columns, const Bf16* right,
                      int64_t right_row, int64_t begin, int64_t end, bool transposes, float* out, int64_t out_row);

}  // namespace flowawr::kernels
