// The two forms in which other libraries take a LoRA adapter.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/nn/lora_adapter.h"

namespace flowawr {

// Writes adapter_config.json and adapter_model.safetensors into `folder`, made if absent: what
// `peft.PeftModel.from_pretrained(transformer, folder)` reads. `base_model` is recorded as base_model_name_or_path.
absl::Status WritePeftFolder(const LoraAdapter& adapter, const std::string& base_model, const std::string& folder);

// Writes one pytorch_lora_weights.safetensors for `StableDiffusion3Pipeline.load_lora_weights(file)`. alpha / rank is
// folded into B, so that readers that ignore metadata (and take alpha = rank) compute the same.
absl::Status WriteDiffusersLora(const LoraAdapter& adapter, const std::string& file,
                                const std::map<std::string, std::string>& metadata = {});

// What is told beside the weights; empty: nothing.
struct AdapterNotes {
  std::string readme;                           // README.md of the peft folder
  std::map<std::string, std::string> metadata;  // of the diffusers file
};

struct ExportedLora {
  std::string peft_folder, diffusers_file;
};
// Both, as `folder`/peft and `folder`/pytorch_lora_weights.safetensors; makes `folder`. AlreadyExists, naming the file,
// when one of them is there that no export wrote, of this release or an older one.
absl::StatusOr<ExportedLora> ExportLora(const LoraAdapter& adapter, const std::string& base_model,
                                        const std::string& folder, const AdapterNotes& notes = {});

// Whether ExportLora writes a file or folder of that name into its folder, so that nothing else may be called so there.
bool IsNameInExport(absl::string_view name);

// Reads a PEFT folder whose rank, alpha and modules are those of `layout`; InvalidArgument says what differs.
absl::StatusOr<LoraAdapter> ReadPeftFolder(const std::string& folder, std::shared_ptr<const LoraLayout> layout);

}  // namespace flowawr
