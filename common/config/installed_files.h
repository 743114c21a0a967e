// The models and configurations that are installed with the programs: PREFIX/share/flowawr beside PREFIX/bin. So
// `flowawr run configs/tiny-ocr.yaml` works from any folder, as it does in the sources.
#pragma once

#include <string>

#include "flowawr/v1/config.pb.h"

namespace flowawr {

// `path`, or the installed file of that name when `path` is relative, there is nothing of that name here, and there is
// one in `installed`.
std::string OrInstalled(const std::string& path, const std::string& installed);

// The same for all that `config` reads: model, prompts, initial adapter, scorers' models.
void UseInstalledFiles(const std::string& installed, v1::RunConfig* config);

// Where that is for this program. It need not be there.
std::string InstalledFolder();

}  // namespace flowawr
