// The adapter that a run starts from when its configuration names one (lora.init_from).
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/nn/lora_adapter.h"
#include "common/sd3/transformer.h"

namespace flowawr {

// What ReadLora() reads from `path`, in the layout that the configuration asks for. InvalidArgument if the adapter is
// for another model, if its modules differ in rank or alpha, and, with the lines to write there, if its rank, alpha and
// modules are not those of the configuration.
absl::StatusOr<LoraAdapter> LoadInitialAdapter(const std::string& path, const Transformer& transformer,
                                               const std::shared_ptr<const LoraLayout>& layout);

}  // namespace flowawr
