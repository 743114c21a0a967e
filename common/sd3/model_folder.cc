#include "common/sd3/model_folder.h"

#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace flowawr {

absl::Status CheckModelFolder(const std::string& folder) {
  std::error_code ignored;  // what cannot be looked at is as good as absent
  if (std::filesystem::exists(folder + "/model_index.json", ignored)) return absl::OkStatus();
  const bool is_there = std::filesystem::exists(folder, ignored);
  return absl::NotFoundError(absl::StrCat(
      folder, is_there ? " is not a diffusers folder: it has no model_index.json" : " does not exist",
      "; a relative path starts at the working directory. The embedded model is models/tiny-sd3, from the repository's "
      "root; README.md says how to get Stable Diffusion 3.5"));
}

}  // namespace flowawr
