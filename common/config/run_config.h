// A run's configuration: YAML in, a checked v1::RunConfig out.
//
// The schema is proto/flowawr/v1/config.proto; defaults, bounds and help are its field options. Every error is an
// InvalidArgument that names file:line:column, the dotted path, what was found and what is accepted, all errors of a
// file at once, one a line.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "flowawr/v1/config.pb.h"

namespace flowawr {

// Reads the file at `path`. `overrides` are "path=value" as of `--set`, applied in order after the file:
// "optimizer.learning_rate=1e-4", "rewards.terms.0.weight=2", "lora.target_modules=[attn.to_q, attn.to_v]". The index
// one past the end of a list of messages adds an element. A folder stands for its config.yaml. The configuration that a
// run directory holds is of that very folder, whatever run_dir it was written with, unless an override sets run_dir.
// Relative paths of what is not here may name what is installed (installed_files.h).
absl::StatusOr<v1::RunConfig> LoadRunConfig(const std::string& path, const std::vector<std::string>& overrides = {});

// The same for text at hand; `name` stands for the file name in errors.
absl::StatusOr<v1::RunConfig> ParseRunConfig(absl::string_view yaml, absl::string_view name,
                                             const std::vector<std::string>& overrides = {});

// The section `network` of the file at `path`: a run's configuration, or a file that holds nothing else. Other sections
// need not be complete. An empty `path` gives the defaults: neither TLS nor token.
absl::StatusOr<v1::NetworkConfig> LoadNetworkConfig(const std::string& path);

// What no single field can tell: the rules between fields. ParseRunConfig() has applied them already.
absl::Status ValidateRunConfig(const v1::RunConfig& config);

// Every field, defaults included; ParseRunConfig() gives the same message back.
absl::StatusOr<std::string> RunConfigToYaml(const v1::RunConfig& config);

// docs/configuration.md: every field with its type, default, accepted values and meaning.
std::string RunConfigReference();

}  // namespace flowawr
