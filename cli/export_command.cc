#include "cli/export_command.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <map>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "cli/adapter_choice.h"
#include "cli/learner_connection.h"
#include "cli/prepare_to_compute.h"
#include "cli/run_folder.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "common/config/model_card.h"
#include "common/nn/lora_files.h"
#include "common/nn/lora_import.h"
#include "common/process/exit_code.h"
#include "common/process/option_values.h"
#include "common/sd3/merged_transformer.h"
#include "common/tensor/safetensors.h"

namespace flowawr {
namespace {

constexpr char kFooter[] = R"(Examples:
  flowawr export runs/tiny-ocr
  flowawr export runs/tiny-ocr --role current --out my-adapter
  flowawr export runs/tiny-ocr --merged tiny-merged/transformer
  flowawr export --adapter style.safetensors --scale 0.8 --model models/stable-diffusion-3.5-medium --merged merged/transformer

Writes OUT/peft/ (peft.PeftModel.from_pretrained(transformer, "OUT/peft"), with a model card, README.md) and
OUT/pytorch_lora_weights.safetensors (pipeline.load_lora_weights). A learner that runs does it after the update under
way; of a stopped run the newest checkpoint is taken.

--merged FOLDER also writes the model's transformer with the adapter in its weights, in their types, merged in f32
(SD3Transformer2DModel.from_pretrained(FOLDER)), and says how far rounding moved them. With --adapter it takes any PEFT
folder or diffusers file instead of a run's policy; several add up.)";

constexpr absl::Duration kBetweenUpdates = absl::Minutes(30);

struct Arguments {
  LearnerAddress address;
  std::string role = "average";
  std::string out;
  std::string merged, model;
  std::vector<std::string> adapters;
  std::vector<double> scales;
};

v1::PolicyRole RoleOf(const std::string& name) {
  if (name == "current") return v1::CURRENT_POLICY;
  return name == "behaviour" ? v1::BEHAVIOUR_POLICY : v1::AVERAGE_POLICY;
}

absl::StatusOr<v1::ExportResponse> ExportCheckpoint(const CheckpointFolder& checkpoint, const std::string& role,
                                                    const std::string& folder) {
  const v1::RunConfig& config = checkpoint.manifest.config();
  return ExportAdapterFile(
      absl::StrCat(checkpoint.path, "/", role, ".safetensors"), config.lora().alpha(), config.model().path(), folder,
      {.readme = ModelCard(checkpoint.manifest, role), .metadata = AdapterMetadata(checkpoint.manifest, role)});
}

// A learner writes into its own run directory only: for other places it saves a checkpoint, which is exported here.
absl::StatusOr<v1::ExportResponse> ExportFromLearner(const Arguments& arguments) {
  FLOWAWR_ASSIGN_OR_RETURN(LearnerConnection learner, LearnerConnection::Open(arguments.address));
  if (arguments.out.empty()) {
    v1::ExportRequest request;
    request.set_role(RoleOf(arguments.role));
    return learner.Call(&v1::Control::Stub::Export, request, kBetweenUpdates);
  }
  FLOWAWR_ASSIGN_OR_RETURN(const v1::CheckpointResponse saved,
                           learner.Call(&v1::Control::Stub::Checkpoint, v1::CheckpointRequest(), kBetweenUpdates));
  // As it is called here, where that is known: the learner may live under another path, and tells its own in UTF-8.
  const std::string run_dir = arguments.address.run_dir.empty()
                                  ? std::filesystem::path(saved.path()).parent_path().parent_path().string()
                                  : arguments.address.run_dir;
  const absl::StatusOr<CheckpointFolder> checkpoint = NewestCheckpoint(run_dir);
  if (!checkpoint.ok())
    return Annotate(checkpoint.status(), absl::StrCat("the learner saved ", saved.path(),
                                                      ", which must be readable here for --out; leave --out away to "
                                                      "export into the run directory"));
  return ExportCheckpoint(*checkpoint, arguments.role, arguments.out);
}

absl::StatusOr<v1::ExportResponse> Export(const Arguments& arguments) {
  absl::StatusOr<v1::ExportResponse> response = ExportFromLearner(arguments);
  const std::string& run_dir = arguments.address.run_dir;
  if (response.ok() || !IsLearnerGone(response.status()) || run_dir.empty() || !arguments.address.learner.empty())
    return response;
  FLOWAWR_RETURN_IF_ERROR(ReadRunFolderConfig(run_dir).status());  // it tells what a run directory is
  FLOWAWR_ASSIGN_OR_RETURN(const CheckpointFolder checkpoint, NewestCheckpoint(run_dir));
  return ExportCheckpoint(checkpoint, arguments.role, arguments.out.empty() ? run_dir + "/export" : arguments.out);
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

// The folder of the transformer itself, also of a whole pipeline.
std::string TransformerFolder(const std::string& model) {
  std::error_code ignored;
  const std::string inside = model + "/transformer";
  return std::filesystem::exists(inside, ignored) ? inside : model;
}

absl::Status Merge(const Arguments& arguments, const std::string& model, const std::vector<std::string>& paths) {
  std::vector<ImportedLora> adapters;
  for (const std::string& path : paths) {
    FLOWAWR_ASSIGN_OR_RETURN(ImportedLora adapter, ReadLora(path));
    adapters.push_back(std::move(adapter));
  }
  std::vector<WeightedLora> weighted;
  for (size_t i = 0; i < adapters.size(); ++i)
    weighted.push_back({&adapters[i], arguments.scales.empty() ? 1 : arguments.scales[i]});
  PrepareToCompute(/*threads=*/0, at::kFloat);  // the drift is told in f32
  FLOWAWR_ASSIGN_OR_RETURN(const MergeReport report,
                           WriteMergedTransformer(TransformerFolder(model), weighted, arguments.merged));
  std::printf(
      "%s\n%lld layers merged; the adapters change their weights by %.3g on average, rounding by %.3g (at most %.3g)\n",
      arguments.merged.c_str(), static_cast<long long>(report.merged_modules), report.mean_weight_change,
      report.mean_weight_error, report.max_weight_error);
  if (report.velocity.has_value()) {
    std::printf("on a random input the adapters change the velocity by %.3g of its norm, merging them by %.3g\n",
                report.velocity->by_adapters, report.velocity->by_merging);
  }
  return absl::OkStatus();
}

absl::Status CheckMerge(const Arguments& arguments) {
  if (arguments.adapters.empty() && !arguments.scales.empty())
    return UsageError("--scale is for --adapter; a run's policy has scale 1");
  if (!arguments.scales.empty() && arguments.scales.size() != arguments.adapters.size())
    return UsageError("give one --scale for each --adapter, or none");
  if (!arguments.merged.empty()) FLOWAWR_RETURN_IF_ERROR(CheckMergeFolder(arguments.merged));
  if (arguments.adapters.empty()) return absl::OkStatus();
  if (arguments.merged.empty())
    return UsageError("--adapter needs --merged FOLDER, where the model with it in its weights goes");
  if (!arguments.out.empty())
    return UsageError("--out is for a run's policy; --adapter is merged alone, into --merged FOLDER");
  return absl::OkStatus();
}

absl::Status ExportAndMerge(const Arguments& arguments) {
  FLOWAWR_RETURN_IF_ERROR(CheckMerge(arguments));
  std::string model = arguments.model;
  if (!arguments.merged.empty() && model.empty()) {
    if (arguments.address.run_dir.empty())
      return UsageError("--merged needs --model FOLDER, or RUN_DIR, which names the model");
    FLOWAWR_ASSIGN_OR_RETURN(const v1::RunConfig config, ReadRunFolderConfig(arguments.address.run_dir));
    model = config.model().path();
  }
  if (!arguments.adapters.empty()) return Merge(arguments, model, arguments.adapters);
  FLOWAWR_ASSIGN_OR_RETURN(const v1::ExportResponse response, Export(arguments));
  std::printf("%s\n%s\n", response.peft_folder().c_str(), response.diffusers_file().c_str());
  return arguments.merged.empty() ? absl::OkStatus() : Merge(arguments, model, {response.peft_folder()});
}

absl::Status ExportWithoutThrowing(const Arguments& arguments) {
  try {
    return ExportAndMerge(arguments);
  } catch (const c10::Error& error) {
    return absl::InternalError(absl::StrCat("export failed: ", error.what_without_backtrace()));
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("export failed: ", error.what()));
  }
}

}  // namespace

absl::StatusOr<v1::ExportResponse> ExportAdapterFile(const std::string& file, double alpha,
                                                     const std::string& base_model, const std::string& folder,
                                                     const AdapterNotes& notes) {
  FLOWAWR_ASSIGN_OR_RETURN(std::string bytes, ReadFile(file));
  FLOWAWR_ASSIGN_OR_RETURN(const SafetensorsFile tensors, SafetensorsFile::Parse(bytes, file));
  FLOWAWR_ASSIGN_OR_RETURN(auto layout, LayoutOfFile(tensors, file, alpha));
  FLOWAWR_ASSIGN_OR_RETURN(const LoraAdapter adapter, LoraAdapter::ParsePeft(std::move(bytes), layout, file));
  FLOWAWR_ASSIGN_OR_RETURN(const ExportedLora exported, ExportLora(adapter, base_model, folder, notes));
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
  command->add_option("--merged", arguments->merged, "folder for the transformer with the adapter in its weights");
  command->add_option("--model", arguments->model, "the model to merge into; default: the run's");
  command
      ->add_option("--adapter", arguments->adapters,
                   "a PEFT folder or diffusers file to merge instead of a run's policy; may be repeated")
      ->allow_extra_args(false);
  command->add_option("--scale", arguments->scales, "of each --adapter; default: 1")
      ->check(Number(-kMostScale, kMostScale))
      ->allow_extra_args(false);
  command->callback([arguments, exit_code] { *exit_code = ReportAndExitCodeOf(ExportWithoutThrowing(*arguments)); });
}

}  // namespace flowawr
