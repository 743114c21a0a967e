#include "common/nn/weight_binder.h"

#include <torch/types.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status.h"
#include "common/tensor/checkpoint.h"
#include "common/tensor/convert.h"
#include "common/tensor/safetensors.h"
#include "spdlog/spdlog.h"

namespace flowawr {
namespace {

constexpr int64_t kLarge = int64_t{1} << 20;  // values: multiplied part by part, so many take as long as in one

std::string ShapeText(at::IntArrayRef shape) { return absl::StrCat("[", absl::StrJoin(shape, ","), "]"); }

}  // namespace

WeightBinder::WeightBinder(std::map<std::string, at::Tensor> tensors, Placement placement, std::string file,
                           ReadProgress progress, UnusableTensors unusable)
    : tensors_(std::move(tensors)),
      unusable_(std::move(unusable)),
      placement_(placement),
      file_(std::move(file)),
      progress_(std::move(progress)) {
  for (const auto& [name, tensor] : tensors_) total_ += static_cast<int64_t>(tensor.nbytes());
}

absl::StatusOr<WeightBinder> WeightBinder::Open(const std::string& folder, const std::string& stem,
                                                Placement placement, ReadProgress progress) {
  FLOWAWR_ASSIGN_OR_RETURN(CheckpointTensors checkpoint, OpenCheckpoint(folder, stem));
  if (!checkpoint.variant.empty())
    spdlog::info("{}: the weights are there as {} alone; reading that", checkpoint.file, checkpoint.variant);
  return WeightBinder(std::move(checkpoint.tensors), placement, std::move(checkpoint.file), std::move(progress),
                      std::move(checkpoint.unusable));
}

WeightBinder WeightBinder::MadeUp(Placement placement) {
  WeightBinder binder({}, placement, "made up");
  binder.is_made_up_ = true;
  return binder;
}

at::Tensor WeightBinder::Take(const std::string& name, at::IntArrayRef shape) {
  DropUnheldViews();
  const at::Tensor* source = Find(name, shape);
  if (source == nullptr) return {};
  at::Tensor tensor = *source;
  if (IsAsWanted(tensor)) {
    ReadPages(tensor);
    views_.push_back(source);
  } else {
    tensor = EmptyWeight(shape, placement_);
    Fill(tensor, *source);
  }
  Report(*source);
  return tensor;
}

StackedWeight WeightBinder::TakeStacked(const std::vector<Part>& parts, at::IntArrayRef rest) {
  std::vector<int64_t> shape = {0};
  shape.insert(shape.end(), rest.begin(), rest.end());
  if (parts.size() == 1) {
    shape[0] = parts[0].rows;
    return Take(parts[0].name, shape);
  }
  DropUnheldViews();
  int64_t rows = 0;
  std::vector<const at::Tensor*> sources;
  bool is_complete = true;
  for (const Part& part : parts) {
    shape[0] = part.rows;
    rows += part.rows;
    sources.push_back(Find(part.name, shape));
    is_complete = is_complete && sources.back() != nullptr;
  }
  if (!is_complete) return {};
  const auto stays = [&](const at::Tensor* source) {
    return IsAsWanted(*source) && source->numel() >= kLarge;
  };
  if (std::all_of(sources.begin(), sources.end(), stays)) {
    std::vector<at::Tensor> views;
    for (const Part& part : parts) {
      shape[0] = part.rows;
      views.push_back(Take(part.name, shape));
    }
    return StackedWeight(std::move(views));
  }
  shape[0] = rows;
  at::Tensor stack = EmptyWeight(shape, placement_);
  int64_t row = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    Fill(stack.narrow(0, row, parts[i].rows), *sources[i]);
    row += parts[i].rows;
    Report(*sources[i]);
  }
  return stack;
}

const at::Tensor* WeightBinder::Find(const std::string& name, at::IntArrayRef shape) {
  if (is_made_up_) tensors_[name] = at::full(shape, 0.01, at::TensorOptions(placement_.dtype));
  const auto found = tensors_.find(name);
  if (const auto unusable = unusable_.find(name); unusable != unusable_.end()) {
    taken_.insert(name);
    Refuse(name, absl::StrCat("is ", unusable->second, "; expected ", ShapeText(shape)));
    return nullptr;
  }
  if (found == tensors_.end()) {
    Refuse(name, absl::StrCat("is missing (expected ", ShapeText(shape), ")"));
    return nullptr;
  }
  taken_.insert(name);
  const at::Tensor& tensor = found->second;
  if (tensor.sizes() != shape) {
    Refuse(name, absl::StrCat("is ", ShapeText(tensor.sizes()), ", expected ", ShapeText(shape)));
    return nullptr;
  }
  if (!tensor.is_floating_point()) {
    Refuse(name, absl::StrCat("is ", c10::toString(tensor.scalar_type()), ", not of a floating-point type"));
    return nullptr;
  }
  return &tensor;
}

void WeightBinder::DropUnheldViews() {
  std::erase_if(views_, [](const at::Tensor* view) {
    const bool is_held = view->use_count() > 1 || view->storage().use_count() > 1;
    if (!is_held) DropPages(*view);
    return !is_held;
  });
}

bool WeightBinder::IsAsWanted(const at::Tensor& source) const {
  return placement_.device.is_cpu() && source.scalar_type() == placement_.dtype;
}

void WeightBinder::Fill(const at::Tensor& weight, const at::Tensor& source) {
  if (placement_.device.is_cpu()) return ConvertInto(weight, source.contiguous());
  if (upload_ == nullptr) upload_ = std::make_unique<WeightUpload>(placement_.device);
  upload_->Copy(weight, source);
}

void WeightBinder::Report(const at::Tensor& read) {
  read_ += static_cast<int64_t>(read.nbytes());
  if (progress_) progress_(read_, total_);
}

void WeightBinder::Refuse(const std::string& name, const std::string& complaint) {
  complaints_.push_back(absl::StrCat("tensor \"", name, "\" ", complaint));
}

absl::Status WeightBinder::Finish() {
  DropUnheldViews();
  if (upload_ != nullptr) upload_->Await();
  if (progress_ && read_ < total_) progress_(total_, total_);  // the rest was not wanted
  std::vector<std::string> lines = complaints_;
  for (const auto& [name, tensor] : tensors_) {
    if (!taken_.contains(name)) {
      lines.push_back(absl::StrCat("tensor \"", name, "\" ", ShapeText(tensor.sizes()), " is unexpected"));
    }
  }
  for (const auto& [name, what] : unusable_)
    if (!taken_.contains(name)) lines.push_back(absl::StrCat("tensor \"", name, "\" is unexpected, ", what));
  return AllComplaints(file_, lines);
}

}  // namespace flowawr
