#include "common/nn/bf16_lora_kernels.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "common/nn/bf16_simd.h"

namespace flowawr::kernels {

#if FLOWAWR_HAS_BF16_KERNELS

namespace {

// Rows whose thin results stay in the cache between the two halves of a product.
constexpr int64_t kRowBlock = 96;
// What an outer product sums over in one go, and across: its paired right side then fits in the second-level cache.
constexpr int64_t kSumBlock = 1024;
constexpr int64_t kColumnBlock = 64;

uint32_t Pair(float even, float odd) { return Bf16Of(even) | static_cast<uint32_t>(Bf16Of(odd)) << 16; }

// [rows, columns] to paired [rows / 2, columns].
std::vector<uint32_t> PairRows(const float* matrix, int64_t rows, int64_t columns) {
  std::vector<uint32_t> pairs(rows / 2 * columns);
  for (int64_t p = 0; p < rows / 2; ++p) {
    const float* even = matrix + 2 * p * columns;
    for (int64_t j = 0; j < columns; ++j) pairs[p * columns + j] = Pair(even[j], even[columns + j]);
  }
  return pairs;
}

// [rows, columns] to paired [columns / 2, rows].
std::vector<uint32_t> PairColumns(const float* matrix, int64_t rows, int64_t columns) {
  constexpr int64_t kBlock = 16;
  std::vector<uint32_t> pairs(columns / 2 * rows);
  for (int64_t begin = 0; begin < rows; begin += kBlock) {
    for (int64_t p = 0; p < columns / 2; ++p) {
      for (int64_t i = begin; i < std::min(rows, begin + kBlock); ++i)
        pairs[p * rows + i] = Pair(matrix[i * columns + 2 * p], matrix[i * columns + 2 * p + 1]);
    }
  }
  return pairs;
}

FLOWAWR_BF16_TARGET void RoundRows(const float* from, int64_t from_row, int64_t rows, int64_t columns, float factor,
                                   Bf16* to, int64_t to_row) {
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; j += kVector) {
      const __m512 scaled = _mm512_mul_ps(_mm512_loadu_ps(from + i * from_row + j), _mm512_set1_ps(factor));
      StoreBf16(scaled, to + i * to_row + j);
    }
  }
}

}  // namespace

Bf16Lora::Bf16Lora(const float* a, const float* b, int64_t in, int64_t rank, double scale,
                   std::vector<Bf16LoraPart> parts)
    : in_(in), rank_(rank), scale_(static_cast<float>(scale)), parts_(std::move(parts)) {
  int64_t widths = 0;
  for (const Bf16LoraPart& part : parts_) widths += part.width;
  a_transposed_ = PairColumns(a, stacked_rank(), in);
  a_ = PairRows(a, stacked_rank(), in);
  b_transposed_ = PairColumns(b, widths, rank);
  b_ = PairRows(b, widths, rank);
}

FLOWAWR_BF16_TARGET void Bf16Lora::Down(int64_t rows, const Bf16* x, Bf16* h) const {
  const int64_t columns = stacked_rank();
  std::vector<float> sums(kRowBlock * columns);
  for (int64_t i = 0; i < rows; i += kRowBlock) {
    const int64_t count = std::min(kRowBlock, rows - i);
    Bf16Gemm(count, columns, in_ / 2, {x + i * in_, in_}, a_transposed_.data(), columns,
             IntoFloat{sums.data(), columns, false});
    RoundRows(sums.data(), columns, count, columns, scale_, h + i * columns, columns);
  }
}

FLOWAWR_BF16_TARGET void Bf16Lora::Up(int64_t rows, const Bf16* h, Bf16* y, int64_t y_row) const {
  const int64_t columns = stacked_rank();
  int64_t width = 0;
  for (const Bf16LoraPart& part : parts_) width += part.width;
  int64_t b_column = 0;
  for (size_t i = 0; i < parts_.size(); ++i) {
    Bf16Gemm(rows, parts_[i].width, rank_ / 2, {h + static_cast<int64_t>(i) * rank_, columns},
             b_transposed_.data() + b_column, width, OntoBf16{y + parts_[i].column, y_row});
    b_column += parts_[i].width;
  }
}

FLOWAWR_BF16_TARGET void Bf16Lora::DownGradient(int64_t rows, const Bf16* dy, int64_t dy_row, Bf16* dh) const {
  const int64_t columns = stacked_rank();
  std::vector<float> sums(kRowBlock * rank_);
  int64_t b_row = 0;
  for (size_t part = 0; part < parts_.size(); ++part) {
    for (int64_t i = 0; i < rows; i += kRowBlock) {
      const int64_t count = std::min(kRowBlock, rows - i);
      Bf16Gemm(count, rank_, parts_[part].width / 2, {dy + i * dy_row + parts_[part].column, dy_row},
               b_.data() + b_row / 2 * rank_, rank_, IntoFloat{sums.data(), rank_, false});
      RoundRows(sums.data(), rank_, count, rank_, scale_, dh + i * columns + static_cast<int64_t>(part) * rank_,
                columns);
    }
    b_row += parts_[part].width;
  }
}

FLOWAWR_BF16_TARGET void Bf16Lora::UpGradient(int64_t rows, const Bf16* dh, Bf16* dx) const {
  Bf16Gemm(rows, in_, stacked_rank() / 2, {dh, stacked_rank()}, a_.data(), in_, OntoBf16{dx, in_});
}

FLOWAWR_BF16_TARGET void Bf16OuterProduct(int64_t rows, const Bf16* left, int64_t left_row, int64_t left_columns,
                                          const Bf16* right, int64_t right_row, int64_t begin, int64_t end,
                                          bool transposes, float* out, int64_t out_row) {
  std::vector<Bf16> left_transposed(left_columns * kSumBlock);
  std::vector<uint32_t> right_pairs(kSumBlock / 2 * kColumnBlock);
  std::vector<float> sums(left_columns * (end - begin));
  for (int64_t row = 0; row < rows; row += kSumBlock) {
    const int64_t count = std::min(kSumBlock, rows - row);
    const int64_t pairs = (count + 1) / 2;
    for (int64_t t = 0; t < 2 * pairs; ++t) {
      const Bf16* from = left + (row + t) * left_row;
      for (int64_t i = 0; i < left_columns; ++i) left_transposed[i * kSumBlock + t] = t < count ? from[i] : Bf16{0};
    }
    for (int64_t column = begin; column < end; column += kColumnBlock) {
      const int64_t columns = std::min(kColumnBlock, end - column);
      for (int64_t p = 0; p < pairs; ++p) {
        const Bf16* even = right + (row + 2 * p) * right_row + column;
        const Bf16* odd = 2 * p + 1 < count ? even + right_row : nullptr;
        for (int64_t j = 0; j < columns; j += kVector)
          StorePairs(even + j, odd == nullptr ? nullptr : odd + j, right_pairs.data() + p * kColumnBlock + j);
      }
      Bf16Gemm(left_columns, columns, pairs, {left_transposed.data(), kSumBlock}, right_pairs.data(), kColumnBlock,
               IntoFloat{sums.data() + column - begin, end - begin, row > 0});
    }
  }
  for (int64_t j = begin; j < end; ++j) {
    for (int64_t i = 0; i < left_columns; ++i) {
      out[transposes ? j * out_row + i : i * out_row + j] = sums[i * (end - begin) + j - begin];
    }
  }
}

#else  // no such instructions on this architecture

Bf16Lora::Bf16Lora(const float*, const float*, int64_t, int64_t, double, std::vector<Bf16LoraPart>) { std::abort(); }
void Bf16Lora::Down(int64_t, const Bf16*, Bf16*) const { std::abort(); }
void Bf16Lora::Up(int64_t, const Bf16*, Bf16*, int64_t) const { std::abort(); }
void Bf16Lora::DownGradient(int64_t, const Bf16*, int64_t, Bf16*) const { std::abort(); }
void Bf16Lora::UpGradient(int64_t, const Bf16*, Bf16*) const { std::abort(); }
void Bf16OuterProduct(int64_t, const Bf16*, int64_t, int64_t, const Bf16*, int64_t, int64_t, int64_t, bool, float*,
                      int64_t) {
  std::abort();
}

#endif

}  // namespace flowawr::kernels
