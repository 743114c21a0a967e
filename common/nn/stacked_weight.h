// The weights of several linear layers of one input as one matrix, without their having to lie together.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>

#include <cstdint>
#include <utility>
#include <vector>

namespace flowawr {

// [rows, in]: one tensor, or the rows of several, one after another, each where it is, as in a mapped file that other
// processes map too.
class StackedWeight {
 public:
  StackedWeight() = default;
  StackedWeight(at::Tensor whole) {  // NOLINT(google-explicit-constructor): a tensor is one
    if (whole.defined()) parts_.push_back(std::move(whole));
  }
  explicit StackedWeight(std::vector<at::Tensor> parts) : parts_(std::move(parts)) {}

  bool defined() const { return !parts_.empty(); }
  const std::vector<at::Tensor>& parts() const { return parts_; }
  int64_t rows() const {
    int64_t rows = 0;
    for (const at::Tensor& part : parts_) rows += part.size(0);
    return rows;
  }
  int64_t in() const { return parts_[0].size(1); }
  at::ScalarType scalar_type() const { return parts_[0].scalar_type(); }
  at::Device device() const { return parts_[0].device(); }
  bool is_cpu() const { return device().is_cpu(); }

  // As one tensor: itself if it is one, else a copy; undefined if there is none.
  at::Tensor Joined() const {
    if (parts_.empty()) return {};
    return parts_.size() == 1 ? parts_[0] : at::cat(parts_);
  }

 private:
  std::vector<at::Tensor> parts_;
};

}  // namespace flowawr
