// What is told beside an exported adapter: where it comes from, what it reached, how it is loaded.
#pragma once

#include <map>
#include <string>

#include "flowawr/v1/checkpoint.pb.h"

namespace flowawr {

// README.md of the adapter's folder, as model hubs show it: Markdown with a YAML head. `role` is average, current or
// behaviour. Figures that nobody measured are left out or "missing". Pure.
std::string ModelCard(const v1::CheckpointManifest& run, const std::string& role);

// The same in brief, as metadata of a safetensors file. Only what the configuration and the seed fix, so that the same
// run gives the same bytes. Pure.
std::map<std::string, std::string> AdapterMetadata(const v1::CheckpointManifest& run, const std::string& role);

}  // namespace flowawr
