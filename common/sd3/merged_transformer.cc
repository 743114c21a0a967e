#include "common/sd3/merged_transformer.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "common/tensor/checkpoint.h"
#include "common/tensor/safetensors.h"
#include "common/tensor/safetensors_stream.h"

namespace flowawr {
namespace {

constexpr char kStem[] = "diffusion_pytorch_model";

// By the module's name; what is added to it.
using Terms = std::map<std::string, std::vector<LoraTerm>>;

std::string ShapeText(at::IntArrayRef shape) { return absl::StrCat("[", absl::StrJoin(shape, ","), "]"); }

absl::Status CheckFits(const CheckpointTensors& base, const ImportedLora& adapter) {
  std::vector<std::string> complaints;
  for (const ImportedLoraModule& module : adapter.modules) {
    const auto weight = base.tensors.find(module.name + ".weight");
    if (weight == base.tensors.end()) {
      complaints.push_back(absl::StrCat("module \"", module.name, "\" does not exist in this model"));
      continue;
    }
    const at::Tensor& tensor = weight->second;
    const bool fits = tensor.dim() >= 2 && tensor.size(0) == module.B.size(0) &&
                      tensor.numel() == module.B.size(0) * module.A.size(1) && tensor.is_floating_point();
    if (fits) continue;
    complaints.push_back(absl::StrCat("module \"", module.name, "\" is ", ShapeText(tensor.sizes()),
                                      " in this model, the adapter is for one of [", module.B.size(0), ",",
                                      module.A.size(1), "]"));
  }
  return AllComplaints(absl::StrCat(adapter.source, ": the adapter is for another model"), complaints);
}

absl::StatusOr<Terms> TermsOf(const CheckpointTensors& base, const std::vector<WeightedLora>& adapters) {
  Terms terms;
  for (const auto& [adapter, scale] : adapters) {
    FLOWAWR_RETURN_IF_ERROR(CheckFits(base, *adapter));
    for (const ImportedLoraModule& module : adapter->modules) {
      if (!std::isfinite(static_cast<float>(scale * module.scale())))
        return absl::InvalidArgumentError(absl::StrCat(adapter->source, ": its scale must be a finite number"));
      terms[module.name].push_back({&module, scale});
    }
  }
  return terms;
}

// Makes the tensors of the merged model, and adds up how far they are from the exact sums.
class Merger {
 public:
  Merger(const CheckpointTensors& base, const Terms& terms) : base_(base), terms_(terms) {}

  absl::StatusOr<at::Tensor> Make(const std::string& name) {
    const at::Tensor& weight = base_.tensors.at(name);
    const auto terms = terms_.find(std::string(absl::StripSuffix(name, ".weight")));
    if (terms == terms_.end()) {
      at::Tensor same = weight.clone();
      DropPages(weight);
      return same;
    }
    const at::Tensor exact = MergedWeight(weight, terms->second);
    const at::Tensor merged = exact.to(weight.scalar_type());
    if (!at::isfinite(merged).all().item<bool>() && at::isfinite(weight).all().item<bool>())
      return absl::InvalidArgumentError(absl::StrCat("tensor \"", name, "\" would not be finite in ",
                                                     c10::toString(weight.scalar_type()),
                                                     ": the adapters' alpha or scale is too large"));
    count_ += exact.numel();
    change_ += exact.sub(weight).abs_().sum(at::kDouble).item<double>();
    const at::Tensor error = exact.sub(merged).abs_();
    error_ += error.sum(at::kDouble).item<double>();
    max_error_ = std::max(max_error_, error.max().item<double>());
    DropPages(weight);
    return merged;
  }

  void Report(MergeReport& report) const {
    const auto count = static_cast<double>(std::max<int64_t>(count_, 1));
    report.merged_modules = static_cast<int64_t>(terms_.size());
    report.mean_weight_error = error_ / count;
    report.max_weight_error = max_error_;
    report.mean_weight_change = change_ / count;
  }

 private:
  const CheckpointTensors& base_;
  const Terms& terms_;
  int64_t count_ = 0;
  double error_ = 0, max_error_ = 0, change_ = 0;
};

// The names of each file, in the order in which they come; one tensor at least in each.
std::vector<std::map<std::string, TensorForm>> Split(const CheckpointTensors& base, int64_t max_bytes) {
  std::vector<std::map<std::string, TensorForm>> shards(1);
  int64_t size = 0;
  for (const auto& [name, tensor] : base.tensors) {
    TensorForm form{tensor.scalar_type(), tensor.sizes().vec()};
    if (!shards.back().empty() && size + form.bytes() > max_bytes) {
      shards.emplace_back();
      size = 0;
    }
    size += form.bytes();
    shards.back()[name] = std::move(form);
  }
  return shards;
}

absl::Status WriteShards(const CheckpointTensors& base, Merger& merger, const std::string& folder, int64_t max_bytes) {
  const std::vector<std::map<std::string, TensorForm>> shards = Split(base, max_bytes);
  const auto make = [&](const std::string& name) { return merger.Make(name); };
  if (shards.size() == 1) return StreamSafetensors(absl::StrCat(folder, "/", kStem, ".safetensors"), shards[0], make);
  nlohmann::json map = nlohmann::json::object();
  int64_t total = 0;
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string file = absl::StrFormat("%s-%05d-of-%05d.safetensors", kStem, i + 1, shards.size());
    FLOWAWR_RETURN_IF_ERROR(StreamSafetensors(absl::StrCat(folder, "/", file), shards[i], make));
    for (const auto& [name, form] : shards[i]) {
      map[name] = file;
      total += form.bytes();
    }
  }
  const nlohmann::json index = {{"metadata", {{"total_size", total}}}, {"weight_map", std::move(map)}};
  return WriteFileAtomically(absl::StrCat(folder, "/", kStem, ".safetensors.index.json"), index.dump(2) + "\n");
}

// The sum of the terms as one adapter of one rank, of scale 1; the ranks that a module lacks are zeros.
absl::StatusOr<LoraAdapter> OneAdapter(const Transformer& transformer, const Terms& terms) {
  int64_t rank = 1;
  std::vector<std::string> names;
  for (const auto& [name, summands] : terms) {
    int64_t sum = 0;
    for (const LoraTerm& term : summands) sum += term.module->rank();
    rank = std::max(rank, sum);
    names.push_back(name);
  }
  FLOWAWR_ASSIGN_OR_RETURN(auto layout, transformer.MakeLoraLayout(names, rank, static_cast<double>(rank)));
  LoraAdapter adapter(layout, at::zeros({layout->size()}));
  for (size_t i = 0; i < layout->modules.size(); ++i) {
    int64_t row = 0;
    for (const auto& [module, scale] : terms.at(layout->modules[i].name)) {
      adapter.A(i).narrow(0, row, module->rank()).copy_(module->A);
      adapter.B(i).narrow(1, row, module->rank()).copy_(module->B * (scale * module->scale()));
      row += module->rank();
    }
  }
  return adapter;
}

TransformerInput RandomInput(const TransformerConfig& config) {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(1);
  const auto normal = [&](std::vector<int64_t> shape) { return at::randn(shape, generator, at::kFloat); };
  constexpr int64_t kMostSide = 32, kTokens = 77;
  const int64_t patches = std::min(kMostSide / config.patch_size, config.pos_embed_max_size);
  const int64_t side = config.patch_size * std::max<int64_t>(patches, 1);
  return {normal({1, config.in_channels, side, side}), at::full({1}, 0.5F),
          normal({1, kTokens, config.joint_attention_dim}), normal({1, config.pooled_projection_dim})};
}

absl::Status CompareVelocities(const std::string& base_folder, at::ScalarType dtype, const Terms& terms,
                               const std::string& folder, MergeReport& report) {
  TransformerInput input;
  at::Tensor base, beside;
  {
    FLOWAWR_ASSIGN_OR_RETURN(const auto transformer, Transformer::Load(base_folder, dtype));
    const absl::StatusOr<LoraAdapter> adapter = OneAdapter(*transformer, terms);
    if (!adapter.ok()) return absl::OkStatus();  // on layers that cannot be bound beside the base: not measured
    FLOWAWR_ASSIGN_OR_RETURN(const BoundAdapter bound, transformer->Bind(*adapter));
    input = RandomInput(transformer->config());
    base = transformer->Forward(input, nullptr);
    beside = transformer->Forward(input, &bound);
  }
  FLOWAWR_ASSIGN_OR_RETURN(const auto merged, Transformer::Load(folder, dtype));
  const at::Tensor velocity = merged->Forward(input, nullptr);
  const double norm = beside.norm().item<double>();
  report.velocity =
      VelocityDrift{(velocity - beside).norm().item<double>() / norm, (base - beside).norm().item<double>() / norm};
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckMergeFolder(const std::string& folder) {
  std::error_code error;
  if (!std::filesystem::exists(folder, error)) return absl::OkStatus();
  if (!std::filesystem::is_directory(folder, error)) return absl::FailedPreconditionError(folder + " is not a folder");
  if (std::filesystem::is_empty(folder, error)) return absl::OkStatus();
  return absl::AlreadyExistsError(absl::StrCat(
      folder, " holds files already, be they of another model or of a merge that was stopped; name another ",
      "folder, or remove it"));
}

absl::StatusOr<MergeReport> WriteMergedTransformer(const std::string& base_folder,
                                                   const std::vector<WeightedLora>& adapters, const std::string& folder,
                                                   int64_t max_shard_bytes) {
  const at::NoGradGuard no_grad;
  FLOWAWR_RETURN_IF_ERROR(CheckMergeFolder(folder));
  FLOWAWR_ASSIGN_OR_RETURN(const std::string config_text, ReadFile(base_folder + "/config.json"));
  FLOWAWR_ASSIGN_OR_RETURN(const CheckpointTensors base, OpenCheckpoint(base_folder, kStem));
  if (!base.unusable.empty()) {  // the merged model would lack it
    const auto& [name, what] = *base.unusable.begin();
    return absl::InvalidArgumentError(absl::StrCat(base.file, ": tensor \"", name, "\" is ", what));
  }
  FLOWAWR_ASSIGN_OR_RETURN(const Terms terms, TermsOf(base, adapters));
  FLOWAWR_RETURN_IF_ERROR(MakeDirectories(folder));
  Merger merger(base, terms);
  FLOWAWR_RETURN_IF_ERROR(WriteShards(base, merger, folder, max_shard_bytes));
  FLOWAWR_RETURN_IF_ERROR(WriteFileAtomically(folder + "/config.json", config_text));
  MergeReport report;
  merger.Report(report);
  const at::ScalarType dtype =
      terms.empty() ? at::kFloat : base.tensors.at(terms.begin()->first + ".weight").scalar_type();
  FLOWAWR_RETURN_IF_ERROR(CompareVelocities(base_folder, dtype, terms, folder, report));
  return report;
}

}  // namespace flowawr
