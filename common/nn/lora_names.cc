#include "common/nn/lora_names.h"

#include <algorithm>
#include <iterator>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
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

// Parts of a name that are no part of the model: a wrapper's field, of which the model is the value.
constexpr absl::string_view kWrappers[] = {"_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module",
                                           "diffusion_model"};

// Before a name with underscores for dots: of kohya's scripts and of OneTrainer.
constexpr absl::string_view kUnderscorePrefixes[] = {"lora_unet_", "lora_transformer_"};

// The layers of a transformer block and those around the blocks, as diffusers names them.
constexpr absl::string_view kBlockLayers[] = {
    "attn.to_q",        "attn.to_k",       "attn.to_v",           "attn.to_out.0", "attn.add_q_proj",
    "attn.add_k_proj",  "attn.add_v_proj", "attn.to_add_out",     "attn2.to_q",    "attn2.to_k",
    "attn2.to_v",       "attn2.to_out.0",  "ff.net.0.proj",       "ff.net.2",      "ff_context.net.0.proj",
    "ff_context.net.2", "norm1.linear",    "norm1_context.linear"};
constexpr absl::string_view kOtherLayers[] = {"context_embedder",
                                              "norm_out.linear",
                                              "proj_out",
                                              "pos_embed.proj",
                                              "time_text_embed.timestep_embedder.linear_1",
                                              "time_text_embed.timestep_embedder.linear_2",
                                              "time_text_embed.text_embedder.linear_1",
                                              "time_text_embed.text_embedder.linear_2"};

template <size_t kSize>
std::optional<absl::string_view> FindUnderscored(const absl::string_view (&names)[kSize], absl::string_view text) {
  for (const absl::string_view name : names)
    if (absl::StrReplaceAll(name, {{".", "_"}}) == text) return name;
  return std::nullopt;
}

// "transformer_blocks_3_attn_to_q" -> "transformer_blocks.3.attn.to_q"; nullopt if that is no layer.
std::optional<std::string> RestoreDots(absl::string_view module) {
  absl::string_view rest = module;
  if (!absl::ConsumePrefix(&rest, "transformer_blocks_")) {
    const std::optional<absl::string_view> found = FindUnderscored(kOtherLayers, module);
    return found.has_value() ? std::optional(std::string(*found)) : std::nullopt;
  }
  const size_t digits = std::min(rest.find_first_not_of("0123456789"), rest.size());
  const absl::string_view block = rest.substr(0, digits);
  if (block.empty() || !absl::ConsumePrefix(&(rest = rest.substr(digits)), "_")) return std::nullopt;
  const std::optional<absl::string_view> layer = FindUnderscored(kBlockLayers, rest);
  if (!layer.has_value()) return std::nullopt;
  return absl::StrCat("transformer_blocks.", block, ".", *layer);
}

// Takes what stands before the model's own names.
void ConsumePrefixes(std::string& name, LoraTensorName& parsed) {
  absl::string_view rest = name;
  for (;;) {
    if (absl::ConsumePrefix(&rest, "base_model.model.")) {
      parsed.prefix = Prefix::kPeft;
    } else if (absl::ConsumePrefix(&rest, "transformer.")) {
      if (parsed.prefix == Prefix::kNone) parsed.prefix = Prefix::kTransformer;
    } else if (absl::ConsumePrefix(&rest, "model.")) {
      parsed.stripped.emplace_back("model.");
    } else {
      break;
    }
  }
  name = std::string(rest);
}

}  // namespace

std::string StripWrapperNames(absl::string_view name, std::vector<std::string>* stripped) {
  std::vector<absl::string_view> kept;
  for (const absl::string_view part : absl::StrSplit(name, '.')) {
    if (std::find(std::begin(kWrappers), std::end(kWrappers), part) == std::end(kWrappers))
      kept.push_back(part);
    else if (stripped != nullptr)
      stripped->push_back(absl::StrCat(part, "."));
  }
  return absl::StrJoin(kept, ".");
}

absl::StatusOr<LoraTensorName> ParseLoraTensorName(absl::string_view name) {
  for (const OtherKind& other : kOtherKinds)
    if (absl::StrContains(name, other.fragment)) return absl::InvalidArgumentError(other.complaint);
  if (absl::EndsWith(name, ".bias"))
    return absl::InvalidArgumentError("is a bias; adapters that train biases are not supported");

  LoraTensorName parsed;
  std::string rest = StripWrapperNames(name, &parsed.stripped);
  ConsumePrefixes(rest, parsed);
  if (absl::StartsWith(rest, "text_encoder") || absl::StartsWith(rest, "text_model.") ||
      absl::StartsWith(rest, "lora_te"))
    return absl::InvalidArgumentError(
        "adapts a text encoder, which is not supported; save the transformer's adapter alone");
  if (absl::StartsWith(rest, "joint_blocks.") || absl::StartsWith(rest, "lora_unet_joint_blocks_"))
    return absl::InvalidArgumentError(
        "has a name of the model's original code, with several layers in one, which diffusers does not read for this "
        "model either; convert the file to diffusers' names (transformer.MODULE.lora_A.weight)");
  bool has_underscores = false;
  for (const absl::string_view prefix : kUnderscorePrefixes) {
    if (!absl::StartsWith(rest, prefix)) continue;
    rest.erase(0, prefix.size());
    has_underscores = true;
    parsed.stripped.emplace_back(prefix);
    break;
  }
  rest = absl::StrReplaceAll(rest, {{".processor.", "."}});
  ConsumeAdapterName(rest, parsed.adapter);
  for (const Ending& ending : kEndings) {
    absl::string_view module = rest;
    if (!absl::ConsumeSuffix(&module, ending.ending) || module.empty()) continue;
    parsed.module = absl::StrCat(module, ending.module_ending);
    parsed.part = ending.part;
    if (!has_underscores) return parsed;
    std::optional<std::string> dotted = RestoreDots(parsed.module);
    if (!dotted.has_value()) return absl::InvalidArgumentError("adapts a layer that this kind of model does not have");
    parsed.module = *std::move(dotted);
    return parsed;
  }
  return absl::InvalidArgumentError("is not a LoRA matrix");
}

}  // namespace flowawr
