#include "common/config/run_config.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "common/config/algorithm_options.h"
#include "common/config/installed_files.h"
#include "common/config/paths.h"
#include "common/config/rules.h"
#include "common/config/yaml_reader.h"

namespace flowawr {
namespace {

constexpr size_t kMaxConfigBytes = 1 << 20;

// What reading found; when that is nothing, what the rules find.
absl::Status Check(YamlReader& reader, const std::vector<RuleViolation>& violations) {
  if (reader.errors().empty())
    for (const RuleViolation& violation : violations) reader.AddError(violation.path, violation.problem);
  if (reader.errors().empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrJoin(reader.errors(), "\n"));
}

}  // namespace

absl::StatusOr<v1::RunConfig> LoadRunConfig(const std::string& named, const std::vector<std::string>& overrides) {
  std::error_code ignored;
  const std::string installed = InstalledFolder();
  const std::string given = OrInstalled(named, installed);
  const bool is_folder = std::filesystem::is_directory(given, ignored);
  const std::string path = is_folder ? absl::StrCat(given, "/", kRunConfigFile) : given;
  if (is_folder && !std::filesystem::exists(path, ignored))
    return absl::NotFoundError(absl::StrCat("the run's configuration: ", given, " is a folder that holds no run (it has no ",
                                            kRunConfigFile, "): name a YAML file, or the folder of a run"));
  absl::StatusOr<std::string> yaml = ReadFile(path, kMaxConfigBytes);
  if (!yaml.ok()) return Annotate(yaml.status(), "the run's configuration");
  FLOWAWR_ASSIGN_OR_RETURN(v1::RunConfig config, ParseRunConfig(*yaml, path, overrides));
  UseInstalledFiles(installed, &config);
  const bool is_told = std::any_of(overrides.begin(), overrides.end(),
                                   [](const std::string& text) { return absl::StartsWith(text, "run_dir="); });
  if (const std::string folder = RunFolderOf(path); !folder.empty() && !is_told) config.set_run_dir(folder);
  return config;
}

absl::StatusOr<v1::RunConfig> ParseRunConfig(absl::string_view yaml, absl::string_view name,
                                             const std::vector<std::string>& overrides) {
  v1::RunConfig config;
  YamlReader reader((std::string(name)));
  reader.ReadText(yaml, config);
  for (const std::string& assignment : overrides) reader.ReadOverride(assignment, config);
  FillInAlgorithmDefaults(config.mutable_algorithm());
  FLOWAWR_RETURN_IF_ERROR(Check(reader, FindRuleViolations(config)));
  return config;
}

absl::StatusOr<v1::NetworkConfig> LoadNetworkConfig(const std::string& path) {
  absl::StatusOr<std::string> yaml = path.empty() ? "" : ReadFile(path, kMaxConfigBytes);
  if (!yaml.ok()) return Annotate(yaml.status(), "the network configuration");
  v1::RunConfig config;
  YamlReader reader(path);
  reader.ReadText(*yaml, config);
  FLOWAWR_RETURN_IF_ERROR(Check(reader, FindNetworkViolations(config.network())));
  return config.network();
}

absl::Status ValidateRunConfig(const v1::RunConfig& config) {
  const std::vector<RuleViolation> violations = FindRuleViolations(config);
  if (violations.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrJoin(violations, "\n", [](std::string* out, const RuleViolation& violation) {
        absl::StrAppend(out, violation.path, ": ", violation.problem);
      }));
}

}  // namespace flowawr
