#include "common/sd3/component_loader.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/status.h"
#include "common/sd3/model_folder.h"
#include "common/tensor/strict_json.h"

namespace flowawr {
namespace {

struct Component {
  absl::string_view name;
  absl::string_view class_name;  // a tokenizer's may have "Fast" behind it
};

constexpr Component kComponents[] = {{"transformer", "SD3Transformer2DModel"},
                                     {"vae", "AutoencoderKL"},
                                     {"scheduler", "FlowMatchEulerDiscreteScheduler"},
                                     {"text_encoder", "CLIPTextModelWithProjection"},
                                     {"text_encoder_2", "CLIPTextModelWithProjection"},
                                     {"text_encoder_3", "T5EncoderModel"},
                                     {"tokenizer", "CLIPTokenizer"},
                                     {"tokenizer_2", "CLIPTokenizer"},
                                     {"tokenizer_3", "T5Tokenizer"}};

absl::string_view ClassOf(absl::string_view component) {
  const auto* found = std::find_if(std::begin(kComponents), std::end(kComponents),
                                   [&](const Component& known) { return known.name == component; });
  return found == std::end(kComponents) ? absl::string_view() : found->class_name;
}

}  // namespace

absl::StatusOr<ComponentLoader> ComponentLoader::Open(const std::string& folder, ComponentProgress progress) {
  FLOWAWR_RETURN_IF_ERROR(CheckModelFolder(folder));
  FLOWAWR_ASSIGN_OR_RETURN(nlohmann::json index, ReadStrictJson(absl::StrCat(folder, "/model_index.json")));
  if (!index.is_object() || index.value("_class_name", nlohmann::json()) != "StableDiffusion3Pipeline")
    return absl::InvalidArgumentError(
        absl::StrCat(folder, "/model_index.json: _class_name must be StableDiffusion3Pipeline"));
  for (const Component& component : kComponents) {
    const auto found = index.find(std::string(component.name));
    if (found == index.end()) continue;
    if (!found->is_array() || found->size() != 2 || !((*found)[1].is_string() || (*found)[1].is_null()))
      return absl::InvalidArgumentError(
          absl::StrCat(folder, "/model_index.json: ", component.name, " is ", found->dump(),
                       "; expected [LIBRARY, CLASS], or [null, null] for a component that is not there"));
  }
  return ComponentLoader(folder, std::move(index), std::move(progress));
}

bool ComponentLoader::Has(const std::string& component) const {
  const auto found = index_.find(component);
  return found != index_.end() && (*found)[1].is_string();
}

bool ComponentLoader::Check(const std::string& component) {
  if (!Has(component)) {
    Complain(absl::StrCat("model_index.json: ", component, " is missing"));
    return false;
  }
  const std::string named = index_[component][1].get<std::string>();
  if (absl::StripSuffix(named, "Fast") != ClassOf(component)) {
    Complain(absl::StrCat("model_index.json: ", component, " is a ", named, ", expected ", ClassOf(component)));
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
