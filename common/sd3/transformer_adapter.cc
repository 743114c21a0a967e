#include "common/sd3/transformer_adapter.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "common/base/status.h"

namespace flowawr {
namespace {

bool EndsAtDot(absl::string_view name, absl::string_view suffix) {
  if (suffix.empty() || !absl::EndsWith(name, suffix)) return false;
  return name.size() == suffix.size() || name[name.size() - suffix.size() - 1] == '.';
}

// Takes from `modules`, beginning at `next`, those that are parts of `linear`.
BoundAdapterState::Site TakeSite(const FrozenLinear& linear, const LoraLayout& layout, size_t& next) {
  BoundAdapterState::Site site{.linear = &linear};
  site.lora.scale = layout.scale();
  int64_t column = 0;
  for (size_t part = 0; part < linear.names.size(); ++part) {
    const int64_t width = linear.widths[part];
    const LoraModule expected{linear.names[part], linear.weight.in(), width};
    if (next < layout.modules.size() && layout.modules[next] == expected) {
      site.lora.parts.push_back({column, width});
      site.a_size += layout.rank * expected.in_features;
      site.b_size += layout.rank * width;
      ++next;
    }
    column += width;
  }
  return site;
}

void SetMatrices(const BoundAdapterState::Site& site, int64_t rank, const at::Tensor& a, const at::Tensor& b,
                 LinearLora& lora) {
  lora.A = a.view({-1, site.linear->weight.in()});
  lora.B = b.view({-1, rank});
}

bool IsTrained(const LinearLora& lora) { return lora.A.defined() && lora.A.requires_grad(); }

}  // namespace

ActiveAdapter::ActiveAdapter(const BoundAdapterState* bound) {
  if (bound == nullptr) return;
  const bool needs_gradient = bound->trains && at::GradMode::is_enabled() && bound->adapter->flat().requires_grad();
  by_linear_.reserve(bound->sites.size());
  for (const BoundAdapterState::Site& site : bound->sites) by_linear_.emplace(site.linear, site.lora);
  if (!needs_gradient) return;

  // One split, so that the backward pass gathers the gradient of the whole vector in one concatenation.
  std::vector<int64_t> sizes;
  for (const BoundAdapterState::Site& site : bound->sites) sizes.push_back(site.a_size);
  for (const BoundAdapterState::Site& site : bound->sites) sizes.push_back(site.b_size);
  const std::vector<at::Tensor> pieces = bound->adapter->flat().split_with_sizes(sizes);
  for (size_t i = 0; i < bound->sites.size(); ++i) {
    const BoundAdapterState::Site& site = bound->sites[i];
    SetMatrices(site, bound->adapter->layout().rank, pieces[i], pieces[bound->sites.size() + i],
                by_linear_.at(site.linear));
  }
}

const LinearLora* ActiveAdapter::Find(const FrozenLinear& linear) const {
  const auto found = by_linear_.find(&linear);
  return found == by_linear_.end() ? nullptr : &found->second;
}

at::Tensor ActiveAdapter::operator()(const FrozenLinear& linear, const at::Tensor& x) const {
  return Linear(linear, x, Find(linear));
}

at::Tensor ActiveAdapter::ForGradient(const FrozenLinear& linear, const at::Tensor& x) const {
  return LinearForGradient(linear, x, Find(linear));
}

std::vector<at::Tensor> ActiveAdapter::TrainedMatrices(const std::vector<const FrozenLinear*>& linears) const {
  std::vector<at::Tensor> matrices;
  for (const FrozenLinear* linear : linears) {
    const LinearLora* lora = Find(*linear);
    if (lora != nullptr && IsTrained(*lora)) matrices.insert(matrices.end(), {lora->A, lora->B});
  }
  return matrices;
}

ActiveAdapter ActiveAdapter::WithMatrices(const std::vector<const FrozenLinear*>& linears,
                                          const std::vector<at::Tensor>& matrices) const {
  ActiveAdapter replaced(nullptr);
  size_t next = 0;
  for (const FrozenLinear* linear : linears) {
    const LinearLora* lora = Find(*linear);
    if (lora == nullptr) continue;
    LinearLora& entry = replaced.by_linear_.emplace(linear, *lora).first->second;
    if (!IsTrained(*lora)) continue;
    entry.A = matrices[next++];
    entry.B = matrices[next++];
  }
  return replaced;
}

absl::StatusOr<std::shared_ptr<const LoraLayout>> LayoutFor(const std::vector<const FrozenLinear*>& linears,
                                                            const std::vector<std::string>& target_suffixes,
                                                            int64_t rank, double alpha) {
  if (rank < 1 || !(alpha > 0)) {
    return absl::InvalidArgumentError(absl::StrCat("LoRA rank ", rank, " and alpha ", alpha, " must be positive"));
  }
  auto layout = std::make_shared<LoraLayout>(LoraLayout{.rank = rank, .alpha = alpha});
  std::set<std::string> unmatched(target_suffixes.begin(), target_suffixes.end());
  for (const FrozenLinear* linear : linears) {
    for (size_t part = 0; part < linear->names.size(); ++part) {
      const std::string& name = linear->names[part];
      bool is_target = false;
      for (const std::string& suffix : target_suffixes) {
        if (!EndsAtDot(name, suffix)) continue;
        is_target = true;
        unmatched.erase(suffix);
      }
      if (is_target) layout->modules.push_back({name, linear->weight.in(), linear->widths[part]});
    }
  }
  if (!unmatched.empty() || layout->modules.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("LoRA target modules that match no attention or feed-forward layer of the transformer: ",
                     unmatched.empty() ? "(none given)" : absl::StrJoin(unmatched, ", "),
                     "; examples that match: attn.to_q, attn.to_out.0, attn.add_k_proj, ff.net.2"));
  }
  return layout;
}

absl::StatusOr<std::shared_ptr<const BoundAdapterState>> BindTo(const std::vector<const FrozenLinear*>& linears,
                                                                const LoraAdapter& adapter, bool trains) {
  const at::NoGradGuard no_grad;
  const LoraLayout& layout = adapter.layout();
  auto state = std::make_shared<BoundAdapterState>(
      BoundAdapterState{.adapter = adapter, .modules = static_cast<int64_t>(layout.modules.size()), .trains = trains});
  size_t next = 0;
  for (const FrozenLinear* linear : linears) {
    if (!linear->weight.defined()) continue;
    BoundAdapterState::Site site = TakeSite(*linear, layout, next);
    if (!site.lora.parts.empty()) state->sites.push_back(std::move(site));
  }
  if (next != layout.modules.size()) {
    const LoraModule& module = layout.modules[next];
    return absl::InvalidArgumentError(
        absl::StrCat("LoRA module \"", module.name, "\" [", module.out_features, ",", module.in_features,
                     "] is not in the transformer, has another size there, or stands in another order; make the layout "
                     "with Transformer::MakeLoraLayout of the same model"));
  }

  const at::Tensor flat = adapter.flat().detach();
  int64_t a_offset = 0;
  int64_t b_offset = layout.OffsetOfB(0);
  for (BoundAdapterState::Site& site : state->sites) {
    SetMatrices(site, layout.rank, flat.narrow(0, a_offset, site.a_size), flat.narrow(0, b_offset, site.b_size),
                site.lora);
    a_offset += site.a_size;
    b_offset += site.b_size;
    // In f32 the folded weight computes the same as the adapter beside the base, in fewer passes. In lower precision it
    // rounds differently, so training keeps the two apart, as peft does.
    const bool folds = !trains || site.linear->weight.scalar_type() == at::kFloat;
    if (!folds) {
      PackLora(*site.linear, site.lora);
      continue;
    }
    FoldLora(*site.linear, site.lora);
    site.lora.A = at::Tensor();
    site.lora.B = at::Tensor();
  }
  return state;
}

namespace {

// One layer of the model and the rows of its fused weight that are its own.
struct Place {
  const FrozenLinear* linear = nullptr;
  LoraPart part;
};

std::unordered_map<std::string, Place> PlacesByName(const std::vector<const FrozenLinear*>& linears) {
  std::unordered_map<std::string, Place> places;
  for (const FrozenLinear* linear : linears) {
    if (!linear->weight.defined()) continue;
    int64_t column = 0;
    for (size_t part = 0; part < linear->names.size(); ++part) {
      places[linear->names[part]] = {linear, {column, linear->widths[part]}};
      column += linear->widths[part];
    }
  }
  return places;
}

// InvalidArgument that lists the modules that the model lacks or has in another size.
absl::Status CheckFits(const std::unordered_map<std::string, Place>& places, const ImportedLora& adapter) {
  std::vector<std::string> complaints;
  for (const ImportedLoraModule& module : adapter.modules) {
    const auto found = places.find(module.name);
    if (found == places.end()) {
      complaints.push_back(absl::StrCat("module \"", module.name, "\" does not exist in this model"));
      continue;
    }
    const int64_t in = found->second.linear->weight.in(), out = found->second.part.width;
    if (module.A.size(1) == in && module.B.size(0) == out) continue;
    complaints.push_back(absl::StrCat("module \"", module.name, "\" is [", out, ",", in,
                                      "] in this model, the adapter is for one of [", module.B.size(0), ",",
                                      module.A.size(1), "]"));
  }
  return AllComplaints(absl::StrCat(adapter.source, ": the adapter is for another model"), complaints);
}

}  // namespace

absl::StatusOr<std::shared_ptr<const BoundAdapterState>> BindImported(const std::vector<const FrozenLinear*>& linears,
                                                                      const std::vector<WeightedLora>& adapters) {
  const at::NoGradGuard no_grad;
  const auto places = PlacesByName(linears);
  std::unordered_map<std::string, std::vector<LoraTerm>> terms;
  for (const auto& [adapter, scale] : adapters) {
    FLOWAWR_RETURN_IF_ERROR(CheckFits(places, *adapter));
    if (!std::isfinite(scale))
      return absl::InvalidArgumentError(absl::StrCat(adapter->source, ": its scale must be a finite number"));
    for (const ImportedLoraModule& module : adapter->modules) terms[module.name].push_back({&module, scale});
  }

  auto state = std::make_shared<BoundAdapterState>();
  state->modules = static_cast<int64_t>(terms.size());
  for (const FrozenLinear* linear : linears) {
    const auto is_adapted = [&](const std::string& name) { return terms.contains(name); };
    if (std::none_of(linear->names.begin(), linear->names.end(), is_adapted)) continue;
    at::Tensor folded = at::cat(linear->weight.parts());
    // Part by part, so that no fused layer stands whole in f32 beside itself.
    for (const std::string& name : linear->names) {
      if (!is_adapted(name)) continue;
      const LoraPart& part = places.at(name).part;
      at::Tensor rows = folded.narrow(0, part.column, part.width);
      rows.copy_(MergedWeight(rows, terms.at(name)));
    }
    BoundAdapterState::Site site{.linear = linear};
    site.lora.folded_weight = folded;
    if (linear->transposed_weight.defined()) site.lora.folded_transposed_weight = TransposeIfSmall(folded);
    state->sites.push_back(std::move(site));
  }
  return state;
}

}  // namespace flowawr
