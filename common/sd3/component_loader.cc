#include "common/sd3/component_loader.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/status.h"
#include "common/sd3/model_folder.h"
#include "common/tensor/strict_json.h"

namespace flowawr {
namespace {

constexpr const char* kComponents[] = {"transformer",    "vae",       "scheduler",   "text_encoder", "text_encoder_2",
                                       "text_encoder_3", "tokenizer", "tokenizer_2", "tokenizer_3"};

}  // namespace

absl::StatusOr<ComponentLoader> ComponentLoader::Open(const std::string& folder, ComponentProgress progress) {
  FLOWAWR_RETURN_IF_ERROR(CheckModelFolder(folder));
  FLOWAWR_ASSIGN_OR_RETURN(nlohmann::json index, ReadStrictJson(absl::StrCat(folder, "/model_index.json")));
  if (!index.is_object() || index.value("_class_name", nlohmann::json()) != "StableDiffusion3Pipeline")
    return absl::InvalidArgumentError(
        absl::StrCat(folder, "/model_index.json: _class_name must be StableDiffusion3Pipeline"));
  for (const char* component : kComponents) {
    const auto found = index.find(component);
    if (found == index.end()) continue;
    if (!found->is_array() || found->size() != 2 || !((*found)[1].is_string() || (*found)[1].is_null()))
      return absl::InvalidArgumentError(
          absl::StrCat(folder, "/model_index.json: ", component, " is ", found->dump(),
                       "; expected [LIBRARY, CLASS], or [null, null] for a component that is not there"));
  }
  return ComponentLoader(folder, std::move(index), std::move(progress));
}

bool ComponentLoader::Has(const std::string& component) const {
  const auto found = index_.find(component);
  return found != index_.end() && (*found)[1].is_string();
}

bool ComponentLoader::Check(const std::string& component, const std::string& class_name) {
  if (!Has(component)) {
    Complain(absl::StrCat("model_index.json: ", component, " is missing"));
    return false;
  }
  const std::string named = index_[component][1].get<std::string>();
  if (absl::StripSuffix(named, "Fast") != class_name) {
    Complain(absl::StrCat("model_index.json: ", component, " is a ", named, ", expected ", class_name));
    return false;
  }
  const std::string path = absl::StrCat(folder_, "/", component);
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) return true;
  Complain(
      absl::StrCat(component, ": ", path, " is not a folder; fetch it",
                   component == "text_encoder_3"
                       ? ", or set text_encoder_3 and tokenizer_3 to [null, null] in model_index.json to do without"
                       : ""));
  return false;
}

void ComponentLoader::Complain(std::string complaint) {
  if (std::find(complaints_.begin(), complaints_.end(), complaint) != complaints_.end()) return;
  complaints_.push_back(std::move(complaint));
}

absl::Status ComponentLoader::Finish() const {
  return AllComplaints(absl::StrCat(folder_, " is not a usable Stable Diffusion 3 pipeline"), complaints_);
}

}  // namespace flowawr
