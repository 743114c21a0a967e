#include "common/nn/lora_names.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"

namespace flowawr {
namespace {

using Part = LoraTensorName::Part;
using Prefix = LoraTensorName::Prefix;

// Parts of names by which other kinds of adapters are known.
struct OtherKind {
  absl::string_view fragment;
  absl::string_view complaint;
};
constexpr OtherKind kOtherKinds[] = {
    {"lora_magnitude_vector", "belongs to DoRA, which is not supported; plain LoRA is"},
    {"dora_scale", "belongs to DoRA, which is not supported; plain LoRA is"},
    {"hada_w", "belongs to LoHa, which is not supported; plain LoRA is"},
    {"lokr_", "belongs to LoKr, which is not supported; plain LoRA is"},
    {"oft_", "belongs to OFT, which is not supported; plain LoRA is"},
    {"lora_embedding_", "adapts an embedding; the transformer has none"},
};

struct Ending {
  absl::string_view ending;
  absl::string_view module_ending;  // what stands in its place in the module's name
  Part part;
};
constexpr Ending kEndings[] = {
    {".lora_A.weight", "", Part::kA},
    {".lora_B.weight", "", Part::kB},
    {".lora.down.weight", "", Part::kA},
    {".lora.up.weight", "", Part::kB},
    {".lora_linear_layer.down.weight", "", Part::kA},
    {".lora_linear_layer.up.weight", "", Part::kB},
    {".lora_down.weight", "", Part::kA},
    {".lora_up.weight", "", Part::kB},
    // Of diffusers' first attention processors.
    {".to_out_lora.down.weight", ".to_out.0", Part::kA},
    {".to_out_lora.up.weight", ".to_out.0", Part::kB},
    {"_lora.down.weight", "", Part::kA},
    {"_lora.up.weight", "", Part::kB},
    {".lora.alpha", "", Part::kAlpha},
    {".alpha", "", Part::kAlpha},
};

// Takes NAME from "MODULE.lora_A.NAME.weight", which a state dict of a model with named adapters has.
void ConsumeAdapterName(std::string& name, std::string& adapter) {
  for (const std::string matrix : {".lora_A.", ".lora_B."}) {
    const size_t at = name.rfind(matrix);
    if (at == std::string::npos || !absl::EndsWith(name, ".weight")) continue;
    const size_t begin = at + matrix.size(), end = name.size() - absl::string_view(".weight").size();
    if (begin >= end) continue;
    adapter = name.substr(begin, end - begin);
    name.erase(begin - 1, end - begin + 1);
    return;
  }
}

}  // namespace

absl::StatusOr<LoraTensorName> ParseLoraTensorName(absl::string_view name) {
  for (const OtherKind& other : kOtherKinds)
    if (absl::StrContains(name, other.fragment)) return absl::InvalidArgumentError(other.complaint);
  if (absl::EndsWith(name, ".bias"))
    return absl::InvalidArgumentError("is a bias; adapters that train biases are not supported");
  if (absl::StartsWith(name, "text_encoder"))
    return absl::InvalidArgumentError(
        "adapts a text encoder, which is not supported; save the transformer's adapter alone");
  if (absl::StartsWith(name, "lora_"))
    return absl::InvalidArgumentError(
        "has a name of kohya's scripts, which diffusers does not read for this model either; convert the file to "
        "diffusers' names (transformer.MODULE.lora_A.weight)");

  LoraTensorName parsed;
  if (absl::ConsumePrefix(&name, "base_model.model."))
    parsed.prefix = Prefix::kPeft;
  else if (absl::ConsumePrefix(&name, "transformer."))
    parsed.prefix = Prefix::kTransformer;
  std::string rest = absl::StrReplaceAll(name, {{".processor.", "."}});
  ConsumeAdapterName(rest, parsed.adapter);
  for (const Ending& ending : kEndings) {
    absl::string_view module = rest;
    if (!absl::ConsumeSuffix(&module, ending.ending) || module.empty()) continue;
    parsed.module = absl::StrCat(module, ending.module_ending);
    parsed.part = ending.part;
    return parsed;
  }
  return absl::InvalidArgumentError("is not a LoRA matrix");
}

}  // namespace flowawr
