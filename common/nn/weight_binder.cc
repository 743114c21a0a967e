#include "common/nn/weight_binder.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/tensor/safetensors.h"

namespace flowawr {
namespace {

constexpr size_t kMaxListed = 40;

std::string ShapeText(at::IntArrayRef shape) { return absl::StrCat("[", absl::StrJoin(shape, ","), "]"); }

}  // namespace

WeightBinder::WeightBinder(std::map<std::string, at::Tensor> tensors, at::ScalarType dtype, std::string file)
    : tensors_(std::move(tensors)), dtype_(dtype), file_(std::move(file)) {}

absl::StatusOr<WeightBinder> WeightBinder::Open(const std::string& folder, const std::string& stem,
                                                at::ScalarType dtype) {
  auto tensors = LoadCheckpointTensors(folder, stem);
  if (!tensors.ok()) return tensors.status();
  return WeightBinder(*std::move(tensors), dtype, absl::StrCat(folder, "/", stem, ".safetensors"));
}

at::Tensor WeightBinder::Take(const std::string& name, at::IntArrayRef shape) {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) {
    Refuse(name, absl::StrCat("is missing (expected ", ShapeText(shape), ")"));
    return {};
  }
  taken_.insert(name);
  const at::Tensor& tensor = found->second;
  if (tensor.sizes() != shape) {
    Refuse(name, absl::StrCat("is ", ShapeText(tensor.sizes()), ", expected ", ShapeText(shape)));
    return {};
  }
  if (!tensor.is_floating_point()) {
    Refuse(name, "is not of a floating-point type");
    return {};
  }
  return tensor.to(dtype_);
}

void WeightBinder::Refuse(const std::string& name, const std::string& complaint) {
  complaints_.push_back(absl::StrCat("tensor \"", name, "\" ", complaint));
}

absl::Status WeightBinder::Finish() const {
  std::vector<std::string> lines = complaints_;
  for (const auto& [name, tensor] : tensors_) {
    if (!taken_.contains(name)) {
      lines.push_back(absl::StrCat("tensor \"", name, "\" ", ShapeText(tensor.sizes()), " is unexpected"));
    }
  }
  if (lines.empty()) return absl::OkStatus();
  const size_t total = lines.size();
  if (total > kMaxListed) {
    lines.resize(kMaxListed);
    lines.push_back(absl::StrCat("and ", total - kMaxListed, " more"));
  }
  return absl::InvalidArgumentError(absl::StrCat(file_, ": ", absl::StrJoin(lines, "; ")));
}

}  // namespace flowawr
