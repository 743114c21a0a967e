// `flowawr export`: a run's policy as an adapter for peft (a folder) and for diffusers (one file), or merged into the
// model's weights; adapters of others merged likewise.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "common/nn/lora_files.h"
#include "flowawr/v1/control.pb.h"

namespace CLI {
class App;
}

namespace flowawr {

// Adds the subcommand to `app`; when it is the one that was typed, `*exit_code` is set.
void AddExportCommand(CLI::App& app, int* exit_code);

// From a checkpoint's file of a stopped run, whose modules its tensors name: the same two outputs as the learner's.
absl::StatusOr<v1::ExportResponse> ExportAdapterFile(const std::string& file, double alpha,
                                                     const std::string& base_model, const std::string& folder,
                                                     const AdapterNotes& notes = {});

}  // namespace flowawr
