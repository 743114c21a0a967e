#include "cli/export_command.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "cli/learner_connection.h"
#include "cli/run_folder.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "common/nn/lora_files.h"
#include "common/process/exit_code.h"
#include "common/tensor/safetensors.h"

namespace flowawr {
namespace {

constexpr char kFooter[] = R"(Examples:
  flowawr export runs/tiny-ocr
  flowawr export runs/tiny-ocr --role current --out my-adapter

Writes OUT/peft/ (peft.PeftModel.from_pretrained(transformer, "OUT/peft")) and OUT/pytorch_lora_weights.safetensors
(pipeline.load_lora_weights). A learner that runs does it after the update under way; of a stopped run the newest
checkpoint is taken.)";

constexpr absl::Duration kBetweenUpdates = absl::Minutes(30);

struct Arguments {
  LearnerAddress address;
  std::string role = "average";
  std::string out;
};

v1::PolicyRole RoleOf(const std::string& name) {
  if (name == "current") return v1::CURRENT_POLICY;
  return name == "behaviour" ? v1::BEHAVIOUR_POLICY : v1::AVERAGE_POLICY;
}

absl::StatusOr<v1::ExportResponse> ExportFromLearner(const Arguments& arguments) {
  FLOWAWR_ASSIGN_OR_RETURN(LearnerConnection learner, LearnerConnection::Open(arguments.address));
  v1::ExportRequest request;
  request.set_role(RoleOf(arguments.role));
  // The learner has a working directory of its own.
  if (!arguments.out.empty()) request.set_path(std::filesystem::absolute(arguments.out).string());
  return learner.Call(&v1::Control::Stub::Export, request, kBetweenUpdates);
}

absl::StatusOr<v1::ExportResponse> Export(const Arguments& arguments) {
  absl::StatusOr<v1::ExportResponse> response = ExportFromLearner(arguments);
  const std::string& run_dir = arguments.address.run_dir;
  if (response.ok() || !IsLearnerGone(response.status()) || run_dir.empty() || !arguments.address.learner.empty())
    return response;
  FLOWAWR_ASSIGN_OR_RETURN(const v1::RunConfig config, ReadRunFolderConfig(run_dir));
  FLOWAWR_ASSIGN_OR_RETURN(const CheckpointFolder checkpoint, NewestCheckpoint(run_dir));
  return ExportAdapterFile(absl::StrCat(checkpoint.path, "/", arguments.role, ".safetensors"), config.lora().alpha(),
                           config.model().path(), arguments.out.empty() ? run_dir + "/export" : arguments.out);
}

// By module name, as they stand in the file: "base_model.model.NAME.lora_A.weight".
absl::StatusOr<std::shared_ptr<const LoraLayout>> LayoutOfFile(const SafetensorsFile& file, const std::string& name,
                                                               double alpha) {
  auto layout = std::make_shared<LoraLayout>();
  layout->alpha = alpha;
  for (const auto& [tensor_name, a] : file.tensors()) {
    absl::string_view module = tensor_name;
    if (!absl::ConsumePrefix(&module, "base_model.model.") || !absl::ConsumeSuffix(&module, ".lora_A.weight")) continue;
    const auto b = file.tensors().find(absl::StrCat("base_model.model.", module, ".lora_B.weight"));
    if (b == file.tensors().end() || a.dim() != 2 || b->second.dim() != 2)
      return absl::InvalidArgumentError(absl::StrCat(name, ": ", module, " is not a pair of LoRA matrices"));
    layout->rank = a.size(0);
    layout->modules.push_back({std::string(module), a.size(1), b->second.size(0)});
  }
  if (layout->modules.empty()) return absl::InvalidArgumentError(absl::StrCat(name, ": holds no LoRA matrices"));
  return layout;
}

}  // namespace

absl::StatusOr<v1::ExportResponse> ExportAdapterFile(const std::string& file, double alpha,
                                                     const std::string& base_model, const std::string& folder) {
  FLOWAWR_ASSIGN_OR_RETURN(std::string bytes, ReadFile(file));
  FLOWAWR_ASSIGN_OR_RETURN(const SafetensorsFile tensors, SafetensorsFile::Parse(bytes, file));
  FLOWAWR_ASSIGN_OR_RETURN(auto layout, LayoutOfFile(tensors, file, alpha));
  FLOWAWR_ASSIGN_OR_RETURN(const LoraAdapter adapter, LoraAdapter::ParsePeft(std::move(bytes), layout, file));
  FLOWAWR_ASSIGN_OR_RETURN(const ExportedLora exported, ExportLora(adapter, base_model, folder));
  v1::ExportResponse response;
  response.set_peft_folder(exported.peft_folder);
  response.set_diffusers_file(exported.diffusers_file);
  return response;
}

void AddExportCommand(CLI::App& app, int* exit_code) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("export", "Write a run's policy as an adapter for peft and diffusers");
  command->footer(kFooter);
  AddLearnerOptions(command, &arguments->address);
  command->add_option("--role", arguments->role, "which policy: the average one is the result")
      ->check(CLI::IsMember({"average", "current", "behaviour"}))
      ->capture_default_str();
  command->add_option("--out", arguments->out, "folder, made if absent; default: RUN_DIR/export");
  command->callback([arguments, exit_code] {
    const absl::StatusOr<v1::ExportResponse> response = Export(*arguments);
    if (response.ok()) std::printf("%s\n%s\n", response->peft_folder().c_str(), response->diffusers_file().c_str());
    *exit_code = ReportAndExitCodeOf(response.status());
  });
}

}  // namespace flowawr
