#include "learner/initial_adapter.h"

#include <ATen/core/grad_mode.h>
#include <torch/types.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "common/base/status.h"
#include "common/nn/lora_import.h"

namespace flowawr {
namespace {

// What a file stores of an alpha may have lost its last digits.
bool IsSame(double a, double b) { return std::abs(a - b) <= 1e-6 * std::abs(b); }

std::set<std::string> NamesOf(const LoraLayout& layout) {
  std::set<std::string> names;
  for (const LoraModule& module : layout.modules) names.insert(module.name);
  return names;
}

std::set<std::string> NamesOf(const ImportedLora& lora) {
  std::set<std::string> names;
  for (const ImportedLoraModule& module : lora.modules) names.insert(module.name);
  return names;
}

absl::Status CheckUniform(const ImportedLora& lora) {
  const ImportedLoraModule& first = lora.modules.front();
  for (const ImportedLoraModule& module : lora.modules) {
    if (module.rank() == first.rank() && IsSame(module.alpha, first.alpha)) continue;
    return absl::InvalidArgumentError(absl::StrCat(lora.source, ": its modules differ in rank or alpha (\"", first.name,
                                                   "\": ", first.rank(), " and ", first.alpha, ", \"", module.name,
                                                   "\": ", module.rank(), " and ", module.alpha,
                                                   "); training takes one of each"));
  }
  return absl::OkStatus();
}

// "attn.to_q" for "transformer_blocks.3.attn.to_q".
std::string WithoutBlock(absl::string_view name) {
  if (!absl::ConsumePrefix(&name, "transformer_blocks.")) return std::string(name);
  while (!name.empty() && absl::ascii_isdigit(static_cast<unsigned char>(name.front()))) name.remove_prefix(1);
  return std::string(absl::StripPrefix(name, "."));
}

// The shortest target_modules that choose these modules, and no others, of this model.
std::vector<std::string> TargetsOf(const ImportedLora& lora, const Transformer& transformer) {
  const std::set<std::string> names = NamesOf(lora);
  std::set<std::string> endings;
  for (const std::string& name : names) endings.insert(WithoutBlock(name));
  std::vector<std::string> targets(endings.begin(), endings.end());
  const auto layout = transformer.MakeLoraLayout(targets, 1, 1);
  if (layout.ok() && NamesOf(**layout) == names) return targets;
  return {names.begin(), names.end()};
}

absl::Status Differs(const ImportedLora& lora, const Transformer& transformer) {
  const ImportedLoraModule& first = lora.modules.front();
  return absl::InvalidArgumentError(
      absl::StrCat("lora.init_from: the rank, alpha or modules of ", lora.source,
                   " are not those of the configuration; write there\n  lora:\n    rank: ", first.rank(),
                   "\n    alpha: ", nlohmann::json(first.alpha).dump(), "\n    target_modules: [",
                   absl::StrJoin(TargetsOf(lora, transformer), ", "), "]"));
}

}  // namespace

absl::StatusOr<LoraAdapter> LoadInitialAdapter(const std::string& path, const Transformer& transformer,
                                               const std::shared_ptr<const LoraLayout>& layout) {
  const at::NoGradGuard no_grad;
  absl::StatusOr<ImportedLora> lora = ReadLora(path);
  if (!lora.ok()) return Annotate(lora.status(), "lora.init_from");
  FLOWAWR_RETURN_IF_ERROR(CheckUniform(*lora));
  const ImportedLoraModule& first = lora->modules.front();
  std::map<std::string, const ImportedLoraModule*> modules;
  for (const ImportedLoraModule& module : lora->modules) modules[module.name] = &module;
  bool is_same =
      first.rank() == layout->rank && IsSame(first.alpha, layout->alpha) && NamesOf(*lora) == NamesOf(*layout);
  for (const LoraModule& module : layout->modules) {
    if (!is_same) break;
    const ImportedLoraModule& imported = *modules.at(module.name);
    is_same = imported.A.size(1) == module.in_features && imported.B.size(0) == module.out_features;
  }
  if (!is_same) {
    // Of another model, rather than of another configuration?
    FLOWAWR_RETURN_IF_ERROR(transformer.BindMerged(std::vector<WeightedLora>{{&*lora, 1}}).status());
    return Differs(*lora, transformer);
  }
  LoraAdapter adapter(layout, at::empty({layout->size()}, at::kFloat));
  for (size_t i = 0; i < layout->modules.size(); ++i) {
    const ImportedLoraModule& imported = *modules.at(layout->modules[i].name);
    adapter.A(i).copy_(imported.A);
    adapter.B(i).copy_(imported.B);
  }
  return adapter;
}

}  // namespace flowawr
