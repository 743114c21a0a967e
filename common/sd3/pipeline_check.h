// Whether the files of a pipeline can be read, before any of them is.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace flowawr {

// InvalidArgument lists, across all components of the diffusers folder `folder`, classes, config.json files and
// headers of weights that are missing, damaged or not what they should be. Reads no weights, so that it takes
// milliseconds; what only shapes and sizes tell is left to loading.
absl::Status CheckPipelineFiles(const std::string& folder, bool has_text_encoders);

}  // namespace flowawr
