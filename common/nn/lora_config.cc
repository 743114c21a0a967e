#include "common/nn/lora_config.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/nn/lora_names.h"

namespace flowawr {
namespace {

constexpr int64_t kMaxRank = int64_t{1} << 16;
constexpr double kMaxAlpha = 1e9;

// Fields that do not change what a saved adapter computes.
const std::set<std::string>& HarmlessFields() {
  static const std::set<std::string> kFields = {"alora_invocation_string",
                                                "auto_mapping",
                                                "base_model_name_or_path",
                                                "corda_config",
                                                "ensure_weight_tying",
                                                "ephemeral_gpu_offload",
                                                "eva_config",
                                                "exclude_modules",
                                                "fan_in_fan_out",
                                                "inference_mode",
                                                "init_lora_weights",
                                                "layers_pattern",
                                                "layers_to_transform",
                                                "loftq_config",
                                                "lora_dropout",
                                                "lora_ga_config",
                                                "megatron_core",
                                                "peft_version",
                                                "qalora_group_size",
                                                "revision",
                                                "runtime_config",
                                                "task_type"};
  return kFields;
}

// Fields that Parse() reads.
const std::set<std::string>& ReadFields() {
  static const std::set<std::string> kFields = {"peft_type",     "r",          "lora_alpha", "rank_pattern",
                                                "alpha_pattern", "use_rslora", "bias",       "target_modules"};
  return kFields;
}

// null, false, 0, "", [] and {}: as if the field were not there.
bool IsUnset(const nlohmann::json& value) {
  if (value.is_boolean()) return !value.get<bool>();
  if (value.is_number()) return value.get<double>() == 0;
  return value.is_null() || (value.is_string() && value.get<std::string>().empty()) ||
         (value.is_structured() && value.empty());
}

// Initialisations that take out of the base weights what they put into the adapter: without that other base the adapter
// means something else.
bool ChangesTheBase(const std::string& initialisation) {
  for (const char* name : {"pissa", "olora", "corda", "loftq", "lora_ga"})
    if (absl::StartsWithIgnoreCase(initialisation, name)) return true;
  return false;
}

class Fields {
 public:
  explicit Fields(const nlohmann::json& config) : config_(config) {}

  const nlohmann::json& operator[](const std::string& name) const {
    static const nlohmann::json kNull;
    const auto found = config_.find(name);
    return found == config_.end() ? kNull : *found;
  }
  void Complain(absl::string_view name, absl::string_view complaint) {
    complaints_.push_back(absl::StrCat("\"", name, "\" ", complaint));
  }
  const std::vector<std::string>& complaints() const { return complaints_; }

  std::optional<NamePattern> Pattern(absl::string_view field, const std::string& text) {
    absl::StatusOr<NamePattern> pattern = NamePattern::Parse(text);
    if (pattern.ok()) return *std::move(pattern);
    Complain(field, absl::StrCat("has a pattern: ", pattern.status().message()));
    return std::nullopt;
  }

  std::vector<std::pair<NamePattern, double>> Patterns(const char* name, double least) {
    std::vector<std::pair<NamePattern, double>> patterns;
    const nlohmann::json& field = (*this)[name];
    if (IsUnset(field)) return patterns;
    if (!field.is_object()) {
      Complain(name, "must map names of modules to numbers");
      return patterns;
    }
    for (const auto& [text, value] : field.items()) {
      std::optional<NamePattern> pattern = Pattern(name, text);
      if (!pattern.has_value()) continue;
      if (value.is_number() && value.get<double>() >= least && value.get<double>() <= kMaxAlpha)
        patterns.emplace_back(*std::move(pattern), value.get<double>());
      else
        Complain(name, absl::StrCat("has no usable number for ", text));
    }
    return patterns;
  }

 private:
  const nlohmann::json& config_;
  std::vector<std::string> complaints_;
};

void CheckKind(Fields& fields, const nlohmann::json& config) {
  const nlohmann::json& kind = fields["peft_type"];
  if (!kind.is_null() && kind != "LORA")
    fields.Complain("peft_type", absl::StrCat("is ", kind.dump(), "; only \"LORA\" is supported"));
  const nlohmann::json& bias = fields["bias"];
  if (!bias.is_null() && bias != "none")
    fields.Complain("bias", absl::StrCat("is ", bias.dump(), "; adapters that train biases are not supported"));
  const nlohmann::json& initialisation = fields["init_lora_weights"];
  if (initialisation.is_string() && ChangesTheBase(initialisation.get<std::string>())) {
    fields.Complain("init_lora_weights", absl::StrCat("is ", initialisation.dump(),
                                                      ", which changes the base weights; save the adapter with peft's "
                                                      "path_initial_model_for_weight_conversion to get a plain LoRA"));
  }
  for (const auto& [name, value] : config.items()) {
    if (ReadFields().contains(name) || HarmlessFields().contains(name) || IsUnset(value)) continue;
    fields.Complain(name, "is set; it may change what the adapter computes and is not supported");
  }
}

}  // namespace

absl::StatusOr<PeftLoraConfig> PeftLoraConfig::Parse(const nlohmann::json& config, absl::string_view source) {
  if (!config.is_object()) return absl::InvalidArgumentError(absl::StrCat(source, ": not a JSON object"));
  Fields fields(config);
  PeftLoraConfig parsed;
  CheckKind(fields, config);

  const nlohmann::json &rank = fields["r"], &alpha = fields["lora_alpha"], &stabilised = fields["use_rslora"];
  if (!rank.is_number_integer() || rank.get<int64_t>() < 1 || rank.get<int64_t>() > kMaxRank)
    fields.Complain("r", "must be an integer of 1 or more");
  else
    parsed.rank_ = rank.get<int64_t>();
  if (!alpha.is_number() || !(std::abs(alpha.get<double>()) <= kMaxAlpha))
    fields.Complain("lora_alpha", "must be a number");
  else
    parsed.alpha_ = alpha.get<double>();
  parsed.rank_patterns_ = fields.Patterns("rank_pattern", 1);
  parsed.alpha_patterns_ = fields.Patterns("alpha_pattern", -kMaxAlpha);
  if (!stabilised.is_null() && !stabilised.is_boolean()) fields.Complain("use_rslora", "must be true or false");
  parsed.is_rank_stabilised_ = stabilised == true;

  const nlohmann::json& targets = fields["target_modules"];
  const auto is_string = [](const nlohmann::json& target) { return target.is_string(); };
  if (targets.is_null() || targets == "all-linear")
    parsed.targets_all_ = true;
  else if (targets.is_array() && std::all_of(targets.begin(), targets.end(), is_string))
    for (const nlohmann::json& target : targets)
      parsed.target_endings_.push_back(StripWrapperNames(target.get<std::string>()));
  else if (targets.is_string())
    parsed.SetTargetPattern(targets.get<std::string>());
  else
    fields.Complain("target_modules", "must be a list of names or a pattern");
  FLOWAWR_RETURN_IF_ERROR(AllComplaints(source, fields.complaints()));
  return parsed;
}

// It chose modules for training; here it only tells whether matrices were left over by mistake. So one that cannot be
// read (peft has Python's whole syntax) is no reason to refuse an adapter.
void PeftLoraConfig::SetTargetPattern(const std::string& text) {
  absl::StatusOr<NamePattern> pattern = NamePattern::Parse(text);
  targets_all_ = !pattern.ok();
  if (pattern.ok()) target_pattern_ = *std::move(pattern);
}

absl::StatusOr<double> PeftLoraConfig::Lookup(const Patterns& patterns, const std::string& module, double otherwise) {
  std::optional<double> found;
  for (const auto& [pattern, value] : patterns) {
    if (!pattern.MatchesEnd(module)) continue;
    if (found.value_or(value) != value) {
      return absl::InvalidArgumentError(absl::StrCat("module \"", module, "\" fits patterns of its configuration that ",
                                                     "give ", *found, " and ", value));
    }
    found = value;
  }
  return found.value_or(otherwise);
}

absl::StatusOr<int64_t> PeftLoraConfig::RankOf(const std::string& module) const {
  FLOWAWR_ASSIGN_OR_RETURN(const double rank, Lookup(rank_patterns_, module, static_cast<double>(rank_)));
  return static_cast<int64_t>(rank);
}

absl::StatusOr<double> PeftLoraConfig::AlphaOf(const std::string& module, int64_t rank) const {
  FLOWAWR_ASSIGN_OR_RETURN(const double alpha, Lookup(alpha_patterns_, module, alpha_));
  return is_rank_stabilised_ ? alpha * std::sqrt(static_cast<double>(rank)) : alpha;
}

bool PeftLoraConfig::IsTarget(const std::string& module) const {
  if (targets_all_) return true;
  if (target_pattern_.has_value()) return target_pattern_->MatchesWhole(module);
  return std::any_of(target_endings_.begin(), target_endings_.end(), [&](const std::string& ending) {
    return module == ending || absl::EndsWith(module, "." + ending);
  });
}

}  // namespace flowawr
