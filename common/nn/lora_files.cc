#include "common/nn/lora_files.h"

#include <ATen/core/grad_mode.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/sha256_sums.h"
#include "common/base/status.h"
#include "common/tensor/safetensors.h"
#include "common/tensor/transfer.h"

namespace flowawr {
namespace {

constexpr char kConfigFile[] = "adapter_config.json";
constexpr char kWeightsFile[] = "adapter_model.safetensors";
constexpr char kDiffusersFile[] = "pytorch_lora_weights.safetensors";
constexpr char kCardFile[] = "peft/README.md";

// Full names, sorted: peft and diffusers match them as they stand.
std::set<std::string> ModuleNames(const LoraLayout& layout) {
  std::set<std::string> names;
  for (const LoraModule& module : layout.modules) names.insert(module.name);
  return names;
}

}  // namespace

namespace {

std::string PeftConfig(const LoraAdapter& adapter, const std::string& base_model) {
  const nlohmann::json config = {
      {"peft_type", "LORA"},
      {"task_type", nullptr},
      {"base_model_name_or_path", base_model},
      {"inference_mode", true},
      {"r", adapter.layout().rank},
      {"lora_alpha", adapter.layout().alpha},
      {"lora_dropout", 0.0},
      {"bias", "none"},
      {"target_modules", ModuleNames(adapter.layout())},
  };
  return config.dump(2) + "\n";
}

absl::StatusOr<std::string> SerializeDiffusers(const LoraAdapter& adapter,
                                               const std::map<std::string, std::string>& metadata) {
  const at::NoGradGuard no_grad;
  const LoraLayout& layout = adapter.layout();
  const LoraAdapter on_cpu(adapter.shared_layout(), MovedTo(adapter.flat().detach(), at::kCPU));
  std::map<std::string, at::Tensor> tensors;
  for (size_t i = 0; i < layout.modules.size(); ++i) {
    const std::string prefix = absl::StrCat("transformer.", layout.modules[i].name);
    tensors[absl::StrCat(prefix, ".lora_A.weight")] = on_cpu.A(i);
    tensors[absl::StrCat(prefix, ".lora_B.weight")] = on_cpu.B(i) * layout.scale();
  }
  return SerializeSafetensors(tensors, metadata);
}

// What the model cards of those releases say.
constexpr absl::string_view kCardMark = "trained by reinforcement learning with FlowAWR (arXiv 2606.30376, flowawr ";

// Releases before SHA256SUMS wrote the same configuration as PeftConfig() does; peft itself has many more fields.
bool IsOurPeftConfig(const std::string& text) {
  const nlohmann::json config = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!config.is_object() || config.dump(2) + "\n" != text) return false;
  std::set<std::string> fields;
  for (const auto& [field, value] : config.items()) fields.insert(field);
  return fields == std::set<std::string>{"base_model_name_or_path", "bias",         "inference_mode", "lora_alpha",
                                         "lora_dropout",            "peft_type",    "r",              "target_modules",
                                         "task_type"};
}

// AlreadyExists when one of the files is there and no export wrote it. Its list of digests names what one wrote; of
// older releases, which kept no list, or named no README.md in it, the files themselves tell.
absl::Status CheckMayReplace(const std::string& folder, const std::map<std::string, std::string>& files) {
  const auto read = [&folder](const std::string& name) {
    return ReadFile(absl::StrCat(folder, "/", name)).value_or("");
  };
  const std::string listed = read(kSha256SumsFile);
  const bool is_of_older_release = listed.empty() && IsOurPeftConfig(read(absl::StrCat("peft/", kConfigFile)));
  for (const auto& [name, bytes] : files) {
    std::error_code error;
    const std::string path = absl::StrCat(folder, "/", name);
    if (!std::filesystem::exists(path, error) || absl::StrContains(listed, absl::StrCat("  ", name, "\n"))) continue;
    if (name == kCardFile ? absl::StrContains(read(name), kCardMark) : is_of_older_release) continue;
    return absl::AlreadyExistsError(
        absl::StrCat(path, " is there and no export wrote it: it is left alone. Move it away, or export elsewhere"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status WritePeftFolder(const LoraAdapter& adapter, const std::string& base_model, const std::string& folder) {
  FLOWAWR_ASSIGN_OR_RETURN(const std::string weights, adapter.SerializePeft());
  FLOWAWR_RETURN_IF_ERROR(MakeDirectories(folder));
  FLOWAWR_RETURN_IF_ERROR(WriteFileAtomically(absl::StrCat(folder, "/", kWeightsFile), weights));
  return WriteFileAtomically(absl::StrCat(folder, "/", kConfigFile), PeftConfig(adapter, base_model));
}

absl::Status WriteDiffusersLora(const LoraAdapter& adapter, const std::string& file,
                                const std::map<std::string, std::string>& metadata) {
  FLOWAWR_ASSIGN_OR_RETURN(const std::string bytes, SerializeDiffusers(adapter, metadata));
  return WriteFileAtomically(file, bytes);
}

bool IsNameInExport(absl::string_view name) {
  return name == "peft" || name == kDiffusersFile || name == kSha256SumsFile;
}

absl::StatusOr<ExportedLora> ExportLora(const LoraAdapter& adapter, const std::string& base_model,
                                        const std::string& folder, const AdapterNotes& notes) {
  const ExportedLora exported{folder + "/peft", folder + "/" + kDiffusersFile};
  std::map<std::string, std::string> files;
  FLOWAWR_ASSIGN_OR_RETURN(files[absl::StrCat("peft/", kWeightsFile)], adapter.SerializePeft());
  files[absl::StrCat("peft/", kConfigFile)] = PeftConfig(adapter, base_model);
  FLOWAWR_ASSIGN_OR_RETURN(files[kDiffusersFile], SerializeDiffusers(adapter, notes.metadata));
  if (!notes.readme.empty()) files[kCardFile] = notes.readme;
  FLOWAWR_RETURN_IF_ERROR(CheckMayReplace(folder, files));
  FLOWAWR_RETURN_IF_ERROR(MakeDirectories(exported.peft_folder));
  // The list first: after a crash in between, the next export still knows the files as its own.
  FLOWAWR_RETURN_IF_ERROR(WriteFileAtomically(absl::StrCat(folder, "/", kSha256SumsFile), FormatSha256Sums(files)));
  for (const auto& [name, bytes] : files)
    FLOWAWR_RETURN_IF_ERROR(WriteFileAtomically(absl::StrCat(folder, "/", name), bytes));
  return exported;
}

absl::StatusOr<LoraAdapter> ReadPeftFolder(const std::string& folder, std::shared_ptr<const LoraLayout> layout) {
  const std::string config_path = absl::StrCat(folder, "/", kConfigFile);
  FLOWAWR_ASSIGN_OR_RETURN(const std::string text, ReadFile(config_path));
  const nlohmann::json config = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!config.is_object() || !config.value("r", nlohmann::json()).is_number_integer() ||
      !config.value("lora_alpha", nlohmann::json()).is_number()) {
    return absl::InvalidArgumentError(absl::StrCat(config_path, ": not a LoRA configuration: needs r and lora_alpha"));
  }
  if (config["r"].get<int64_t>() != layout->rank || config["lora_alpha"].get<double>() != layout->alpha) {
    return absl::InvalidArgumentError(absl::StrCat(config_path, ": rank ", config["r"].get<int64_t>(), " and alpha ",
                                                   config["lora_alpha"].get<double>(), ", expected rank ", layout->rank,
                                                   " and alpha ", layout->alpha));
  }
  const std::string weights_path = absl::StrCat(folder, "/", kWeightsFile);
  FLOWAWR_ASSIGN_OR_RETURN(std::string weights, ReadFile(weights_path));
  return LoraAdapter::ParsePeft(std::move(weights), std::move(layout), weights_path);
}

}  // namespace flowawr
