#include "cli/run_inputs.h"

#include <filesystem>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/nearest_word.h"
#include "common/base/shell_quote.h"
#include "common/base/status.h"
#include "common/config/prompts.h"
#include "common/sd3/model_folder.h"

namespace flowawr {
namespace {

// OWNER/NAME, which people know from Python libraries, where it is fetched by itself; not in a folder that is here.
bool LooksLikeHubId(const std::string& path) {
  const std::pair<std::string, std::string> parts = absl::StrSplit(path, absl::MaxSplits('/', 1));
  std::error_code ignored;
  return !parts.first.empty() && parts.first[0] != '.' && !parts.second.empty() &&
         !absl::StrContains(parts.second, '/') && !std::filesystem::exists(parts.first, ignored);
}

// The models beside the one that is not there.
std::vector<std::string> ModelsIn(const std::filesystem::path& folder) {
  std::vector<std::string> models;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error))
    if (CheckModelFolder(entry->path().string()).ok()) models.push_back(entry->path().string());
  return models;
}

absl::Status CheckModel(const std::string& path) {
  const absl::Status found = CheckModelFolder(path);
  std::error_code ignored;
  if (found.ok() || std::filesystem::exists(path, ignored)) return Annotate(found, "model.path");
  if (!LooksLikeHubId(path)) {
    const std::filesystem::path folder = std::filesystem::path(path).parent_path();
    return absl::Status(found.code(), absl::StrCat("model.path: ", found.message(),
                                                   DidYouMean(path, ModelsIn(folder.empty() ? "." : folder))));
  }
  return absl::Status(found.code(), absl::StrCat("model.path: ", found.message(),
                                                 ". If this is a model of the Hugging Face hub, fetch it: hf download ",
                                                 ShellQuote(path), " --local-dir FOLDER, and name that folder"));
}

absl::Status CheckPrompts(const std::string& field, const std::string& file) {
  const absl::Status found = PromptSet::Load(file).status();
  std::error_code error;
  const std::filesystem::path here = std::filesystem::current_path(error);
  if (!absl::IsNotFound(found) || error || std::filesystem::path(file).is_absolute()) return Annotate(found, field);
  return Annotate(absl::NotFoundError(absl::StrCat(found.message(), " (looked for in ", here.string(),
                                                   ": a relative path starts at the working directory)")),
                  field);
}

}  // namespace

absl::Status CheckModelInput(const v1::RunConfig& config) { return CheckModel(config.model().path()); }

absl::Status CheckRunInputs(const v1::RunConfig& config) {
  FLOWAWR_RETURN_IF_ERROR(CheckModelInput(config));
  FLOWAWR_RETURN_IF_ERROR(CheckPrompts("prompts.train", config.prompts().train()));
  return config.prompts().heldout().empty() ? absl::OkStatus()
                                            : CheckPrompts("prompts.heldout", config.prompts().heldout());
}

}  // namespace flowawr
