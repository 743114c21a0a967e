#include "common/nn/lora_adapter.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>

#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status.h"
#include "common/nn/weight_binder.h"
#include "common/tensor/safetensors.h"
#include "common/tensor/transfer.h"

namespace flowawr {
namespace {

std::string KeyOf(const LoraModule& module, absl::string_view matrix) {
  return absl::StrCat("base_model.model.", module.name, ".lora_", matrix, ".weight");
}

}  // namespace

int64_t LoraLayout::size() const { return OffsetOfB(modules.size()); }

int64_t LoraLayout::OffsetOfA(size_t module) const {
  int64_t offset = 0;
  for (size_t i = 0; i < module; ++i) offset += rank * modules[i].in_features;
  return offset;
}

int64_t LoraLayout::OffsetOfB(size_t module) const {
  int64_t offset = OffsetOfA(modules.size());
  for (size_t i = 0; i < module; ++i) offset += rank * modules[i].out_features;
  return offset;
}

LoraAdapter LoraAdapter::Initialise(std::shared_ptr<const LoraLayout> layout, uint64_t seed) {
  const at::NoGradGuard no_grad;
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  at::Tensor flat = at::zeros({layout->size()}, at::kFloat);
  flat.narrow(0, 0, layout->OffsetOfB(0)).normal_(0, 1.0 / static_cast<double>(layout->rank), generator);
  return LoraAdapter(std::move(layout), std::move(flat));
}

LoraAdapter::LoraAdapter(std::shared_ptr<const LoraLayout> layout, at::Tensor flat)
    : layout_(std::move(layout)), flat_(std::move(flat)) {
  TORCH_CHECK(flat_.dim() == 1 && flat_.size(0) == layout_->size() && flat_.scalar_type() == at::kFloat &&
                  flat_.is_contiguous(),
              "a LoRA adapter of this layout is one contiguous f32 vector of ", layout_->size(), " elements");
}

at::Tensor LoraAdapter::A(size_t module) const {
  const int64_t in = layout_->modules[module].in_features;
  return flat_.narrow(0, layout_->OffsetOfA(module), layout_->rank * in).view({layout_->rank, in});
}

at::Tensor LoraAdapter::B(size_t module) const {
  const int64_t out = layout_->modules[module].out_features;
  return flat_.narrow(0, layout_->OffsetOfB(module), layout_->rank * out).view({out, layout_->rank});
}

LoraAdapter LoraAdapter::Clone() const { return LoraAdapter(layout_, flat_.detach().clone()); }

absl::StatusOr<std::string> LoraAdapter::SerializePeft() const {
  const at::NoGradGuard no_grad;
  const LoraAdapter on_cpu(layout_, MovedTo(flat_.detach(), at::kCPU));
  std::map<std::string, at::Tensor> tensors;
  for (size_t i = 0; i < layout_->modules.size(); ++i) {
    tensors[KeyOf(layout_->modules[i], "A")] = on_cpu.A(i);
    tensors[KeyOf(layout_->modules[i], "B")] = on_cpu.B(i);
  }
  return SerializeSafetensors(tensors, {{kLoraAlphaMetadata, nlohmann::json(layout_->alpha).dump()}});
}

absl::StatusOr<LoraAdapter> LoraAdapter::ParsePeft(std::string bytes, std::shared_ptr<const LoraLayout> layout,
                                                   const std::string& name_for_errors) {
  return ParsePeft(std::make_shared<const std::string>(std::move(bytes)), std::move(layout), name_for_errors);
}

absl::StatusOr<LoraAdapter> LoraAdapter::ParsePeft(std::shared_ptr<const std::string> bytes,
                                                   std::shared_ptr<const LoraLayout> layout,
                                                   const std::string& name_for_errors) {
  const at::NoGradGuard no_grad;
  FLOWAWR_ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::Parse(std::move(bytes), name_for_errors));
  WeightBinder binder(file.tensors(), at::kFloat, name_for_errors, /*progress=*/nullptr, file.unusable());
  LoraAdapter adapter(layout, at::empty({layout->size()}, at::kFloat));
  const auto take = [&](const LoraModule& module, absl::string_view matrix, at::Tensor destination) {
    const at::Tensor source = binder.Take(KeyOf(module, matrix), destination.sizes());
    if (!source.defined()) return;
    if (!at::isfinite(source).all().item<bool>()) binder.Refuse(KeyOf(module, matrix), "holds NaN or infinity");
    destination.copy_(source);
  };
  for (size_t i = 0; i < layout->modules.size(); ++i) {
    take(layout->modules[i], "A", adapter.A(i));
    take(layout->modules[i], "B", adapter.B(i));
  }
  FLOWAWR_RETURN_IF_ERROR(binder.Finish());
  return adapter;
}

}  // namespace flowawr
