// What a LoRA adapter's configuration says about its matrices: peft's adapter_config.json, and the same fields as
// diffusers keeps them in a file's metadata.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/nn/name_pattern.h"

namespace flowawr {

// Immutable; safe to share between threads.
class PeftLoraConfig {
 public:
  // InvalidArgument, beginning with `source`, lists every field that is missing, malformed, asks for something else
  // than plain LoRA (DoRA, biases, full modules, initialisations that change the base weights ...), or is set without
  // being known here.
  static absl::StatusOr<PeftLoraConfig> Parse(const nlohmann::json& config, absl::string_view source);

  // As peft has them for a module of this name: rank_pattern and alpha_pattern before r and lora_alpha. InvalidArgument
  // when patterns of different numbers match.
  absl::StatusOr<int64_t> RankOf(const std::string& module) const;
  // What divided by the rank is the scale: rank-stabilised, alpha * sqrt(rank).
  absl::StatusOr<double> AlphaOf(const std::string& module, int64_t rank) const;
  // Whether target_modules names the module.
  bool IsTarget(const std::string& module) const;

 private:
  using Patterns = std::vector<std::pair<NamePattern, double>>;

  void SetTargetPattern(const std::string& text);
  static absl::StatusOr<double> Lookup(const Patterns& patterns, const std::string& module, double otherwise);

  int64_t rank_ = 0;
  double alpha_ = 0;
  bool is_rank_stabilised_ = false;
  Patterns rank_patterns_, alpha_patterns_;
  bool targets_all_ = false;
  std::vector<std::string> target_endings_;
  std::optional<NamePattern> target_pattern_;
};

}  // namespace flowawr
