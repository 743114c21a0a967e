// Where a model is, before anything of it is read.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace flowawr {

// NotFound, with what to do about it, unless `folder` is there and holds a diffusers pipeline's model_index.json.
absl::Status CheckModelFolder(const std::string& folder);

}  // namespace flowawr
