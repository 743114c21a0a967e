#include "common/nn/lora_import.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/isfinite.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "common/nn/lora_adapter.h"
#include "common/nn/lora_config.h"
#include "common/nn/lora_names.h"
#include "common/tensor/safetensors.h"
#include "common/tensor/strict_json.h"
#include "common/tensor/transfer.h"
#include "spdlog/spdlog.h"

namespace flowawr {
namespace {

namespace fs = std::filesystem;
using Part = LoraTensorName::Part;
using Prefix = LoraTensorName::Prefix;

constexpr char kConfigFile[] = "adapter_config.json";
constexpr char kPeftWeights[] = "adapter_model.safetensors";
constexpr char kDiffusersWeights[] = "pytorch_lora_weights.safetensors";
constexpr char kDiffusersMetadata[] = "lora_adapter_metadata";
constexpr size_t kMostConfigBytes = size_t{1} << 22;

struct FoundFiles {
  std::string weights;
  std::string config;  // empty: none
};

bool Exists(const std::string& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

// Folders below, two deep, that hold a PEFT adapter: trainers put them into "lora", "lora/old", "checkpoint-100/lora".
std::vector<std::string> PeftFoldersBelow(const std::string& folder) {
  std::vector<std::string> found;
  std::error_code error;
  for (fs::recursive_directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    if (it.depth() >= 2) it.disable_recursion_pending();
    if (it->path().filename() == kConfigFile) found.push_back(it->path().parent_path().string());
  }
  std::sort(found.begin(), found.end());
  return found;
}

absl::Status NothingThere(const std::string& path) {
  constexpr char kWanted[] =
      "an adapter is a PEFT folder (adapter_config.json and adapter_model.safetensors), like RUN_DIR/export/peft of a "
      "run that is done, or a diffusers file (pytorch_lora_weights.safetensors)";
  if (!Exists(path)) return absl::NotFoundError(absl::StrCat(path, ": No such file or directory; ", kWanted));
  const std::vector<std::string> below = PeftFoldersBelow(path);
  if (below.empty()) return absl::NotFoundError(absl::StrCat(path, " holds no adapter; ", kWanted));
  return absl::NotFoundError(
      absl::StrCat(path, " holds no adapter, but folders in it do; name one: ", absl::StrJoin(below, ", ")));
}

absl::StatusOr<FoundFiles> FindInFolder(const std::string& folder) {
  const auto in_folder = [&](const char* file) { return absl::StrCat(folder, "/", file); };
  if (Exists(in_folder(kConfigFile))) {
    if (Exists(in_folder(kPeftWeights))) return FoundFiles{in_folder(kPeftWeights), in_folder(kConfigFile)};
    if (!Exists(in_folder("adapter_model.bin")))
      return absl::NotFoundError(absl::StrCat(folder, ": has ", kConfigFile, " but no ", kPeftWeights));
    return absl::InvalidArgumentError(absl::StrCat(
        folder, ": its weights are adapter_model.bin, a pickle, which can run code when it is read; save the adapter ",
        "with save_pretrained(..., safe_serialization=True)"));
  }
  if (Exists(in_folder(kDiffusersWeights))) return FoundFiles{in_folder(kDiffusersWeights), ""};
  std::vector<std::string> files;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    if (it->path().extension() == ".safetensors") files.push_back(it->path().string());
  if (files.size() == 1) return FoundFiles{files[0], ""};
  if (files.empty()) return NothingThere(folder);
  std::sort(files.begin(), files.end());
  return absl::InvalidArgumentError(
      absl::StrCat(folder, " holds several .safetensors files; name one: ", absl::StrJoin(files, ", ")));
}

absl::StatusOr<FoundFiles> FindFiles(const std::string& path) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) return FindInFolder(path);
  if (!Exists(path)) return NothingThere(path);
  const fs::path beside = fs::path(path).parent_path() / kConfigFile;
  const bool has_config = fs::path(path).filename() == kPeftWeights && Exists(beside.string());
  return FoundFiles{path, has_config ? beside.string() : ""};
}

struct Matrices {
  at::Tensor A, B, alpha;
};

// The tensors of a file by module, and every complaint about them.
class Collector {
 public:
  void Add(const std::string& name, const at::Tensor& tensor) {
    const absl::StatusOr<LoraTensorName> parsed = ParseLoraTensorName(name);
    if (!parsed.ok()) {
      (IsNoAdapter(parsed.status()) ? strangers_ : complaints_).push_back(Line(name, parsed.status().message()));
      return;
    }
    prefixes_.insert(parsed->prefix);
    stripped_.insert(parsed->stripped.begin(), parsed->stripped.end());
    if (!parsed->adapter.empty()) adapters_.insert(parsed->adapter);
    if (!tensor.is_floating_point() && parsed->part != Part::kAlpha) {
      complaints_.push_back(
          Line(name, absl::StrCat("is ", c10::toString(tensor.scalar_type()), ", not of a floating-point type")));
      return;
    }
    Matrices& module = modules_[parsed->module];
    at::Tensor& place = parsed->part == Part::kA ? module.A : parsed->part == Part::kB ? module.B : module.alpha;
    if (place.defined()) complaints_.push_back(Line(name, "is there a second time, under another name"));
    place = tensor;
  }

  // A tensor that cannot be used, and what it is.
  void AddUnusable(const std::string& name, absl::string_view what) {
    complaints_.push_back(Line(name, absl::StrCat("is ", what)));
  }

  // The module's matrices as f32 [rank, in] and [out, rank]; nullopt, with a complaint, if they are no pair.
  std::optional<ImportedLoraModule> Pair(const std::string& name, const Matrices& matrices) {
    const auto complain = [&](absl::string_view complaint) {
      complaints_.push_back(absl::StrCat("module \"", name, "\" ", complaint));
      return std::nullopt;
    };
    const at::Tensor &A = matrices.A, &B = matrices.B;
    if (!A.defined() || !B.defined()) {
      if (!A.defined() && !B.defined()) return complain("has an alpha, but no matrices");
      return complain(A.defined() ? "has a matrix A, but no B" : "has a matrix B, but no A");
    }
    const bool is_linear = A.dim() == 2 && B.dim() == 2;
    const bool is_convolution = A.dim() == 4 && B.dim() == 4 && B.size(2) == 1 && B.size(3) == 1;
    if ((!is_linear && !is_convolution) || A.numel() == 0 || B.numel() == 0 || A.size(0) != B.size(1)) {
      return complain(absl::StrCat("has matrices A [", absl::StrJoin(A.sizes(), ","), "] and B [",
                                   absl::StrJoin(B.sizes(), ","), "], expected [rank, in] and [out, rank]"));
    }
    const auto values = [](const at::Tensor& matrix) {
      return matrix.flatten(1).to(at::kFloat, /*non_blocking=*/false, /*copy=*/true).contiguous();
    };
    ImportedLoraModule module{.name = name, .A = values(A), .B = values(B)};
    for (const at::Tensor* matrix : {&module.A, &module.B})
      if (!at::isfinite(*matrix).all().item<bool>()) return complain("holds NaN or infinity");
    return module;
  }

  void Complain(absl::string_view complaint) { complaints_.emplace_back(complaint); }
  const std::map<std::string, Matrices>& modules() const { return modules_; }
  bool IsPeft() const { return prefixes_.contains(Prefix::kPeft); }
  std::vector<std::string> stripped() const { return {stripped_.begin(), stripped_.end()}; }
  bool HasTransformerPrefix() const { return prefixes_.contains(Prefix::kTransformer); }

  absl::Status Finish(const std::string& file) {
    if (adapters_.size() > 1) {
      complaints_.push_back(absl::StrCat("holds several adapters (", absl::StrJoin(adapters_, ", "),
                                         "); save one alone: save_pretrained(..., selected_adapters=[NAME])"));
    }
    if (modules_.empty() && complaints_.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(
          file, ": holds no LoRA matrices",
          strangers_.empty() ? "" : absl::StrCat("; ", strangers_.size(), " tensors like: ", strangers_.front())));
    }
    complaints_.insert(complaints_.end(), strangers_.begin(), strangers_.end());
    return AllComplaints(file, complaints_);
  }

 private:
  static std::string Line(const std::string& name, absl::string_view complaint) {
    return absl::StrCat("tensor \"", name, "\" ", complaint);
  }
  static bool IsNoAdapter(const absl::Status& status) { return status.message() == "is not a LoRA matrix"; }

  std::map<std::string, Matrices> modules_;
  std::set<Prefix> prefixes_;
  std::set<std::string> adapters_, stripped_;
  std::vector<std::string> complaints_, strangers_;
};

// peft's fields out of those of a whole pipeline, "transformer.r": 8 and so on.
nlohmann::json FieldsOfTransformer(const nlohmann::json& metadata) {
  nlohmann::json fields = nlohmann::json::object();
  for (const auto& [name, value] : metadata.items()) {
    absl::string_view field = name;
    if (absl::ConsumePrefix(&field, "transformer.")) fields[std::string(field)] = value;
  }
  return fields;
}

// What is known of ranks and alphas beside the matrices.
struct Told {
  std::optional<PeftLoraConfig> config;
  std::optional<double> alpha;  // of all modules, in files of this project
};

absl::StatusOr<Told> ReadWhatIsTold(const FoundFiles& files, const SafetensorsFile& file, const Collector& collected,
                                    std::optional<double> alpha_if_untold) {
  Told told;
  if (!files.config.empty()) {
    FLOWAWR_ASSIGN_OR_RETURN(const nlohmann::json config, ReadStrictJson(files.config, kMostConfigBytes));
    FLOWAWR_ASSIGN_OR_RETURN(told.config, PeftLoraConfig::Parse(config, files.config));
    return told;
  }
  if (const auto found = file.metadata().find(kDiffusersMetadata); found != file.metadata().end()) {
    const std::string source = absl::StrCat(files.weights, ": ", kDiffusersMetadata);
    FLOWAWR_ASSIGN_OR_RETURN(const nlohmann::json metadata, ParseStrictJson(found->second, source));
    FLOWAWR_ASSIGN_OR_RETURN(told.config, PeftLoraConfig::Parse(collected.HasTransformerPrefix() && metadata.is_object()
                                                                    ? FieldsOfTransformer(metadata)
                                                                    : metadata,
                                                                source));
    return told;
  }
  if (!collected.IsPeft()) return told;
  double alpha = 0;
  if (const auto found = file.metadata().find(kLoraAlphaMetadata); found != file.metadata().end()) {
    if (!absl::SimpleAtod(found->second, &alpha) || !std::isfinite(alpha))
      return absl::InvalidArgumentError(absl::StrCat(files.weights, ": ", kLoraAlphaMetadata, " is no number"));
    told.alpha = alpha;
  } else if (alpha_if_untold.has_value()) {
    told.alpha = alpha_if_untold;
  } else {
    return absl::InvalidArgumentError(absl::StrCat(files.weights, ": nothing tells its alpha; keep ", kConfigFile,
                                                   " beside it (as ", kPeftWeights,
                                                   "), or export it from its run: flowawr export RUN_DIR"));
  }
  return told;
}

// Sets the module's alpha; a complaint if what is told contradicts its matrices.
absl::Status SetAlpha(const Told& told, const at::Tensor& alpha_tensor, ImportedLoraModule& module) {
  const auto wrong = [&](auto... complaint) {
    return absl::InvalidArgumentError(absl::StrCat("module \"", module.name, "\" ", complaint...));
  };
  module.alpha = told.alpha.value_or(static_cast<double>(module.rank()));
  if (alpha_tensor.defined()) {
    if (alpha_tensor.numel() != 1) return wrong("has an alpha of ", alpha_tensor.numel(), " numbers, expected one");
    if (told.config.has_value()) return wrong("has an alpha of its own beside a configuration; remove one of them");
    module.alpha = alpha_tensor.to(at::kDouble).item<double>();
    if (!std::isfinite(module.alpha)) return wrong("has an alpha that is not finite");
  }
  if (!told.config.has_value()) return absl::OkStatus();
  if (!told.config->IsTarget(module.name)) return wrong("is not one of the configuration's target_modules");
  FLOWAWR_ASSIGN_OR_RETURN(const int64_t rank, told.config->RankOf(module.name));
  if (rank != module.rank()) return wrong("has rank ", module.rank(), ", its configuration says ", rank);
  FLOWAWR_ASSIGN_OR_RETURN(module.alpha, told.config->AlphaOf(module.name, rank));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ImportedLora> ReadLora(const std::string& path, std::optional<double> alpha_if_untold) {
  const at::NoGradGuard no_grad;
  FLOWAWR_ASSIGN_OR_RETURN(const FoundFiles files, FindFiles(path));
  FLOWAWR_ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::Open(files.weights));
  Collector collected;
  for (const auto& [name, tensor] : file.tensors()) collected.Add(name, tensor);
  for (const auto& [name, what] : file.unusable()) collected.AddUnusable(name, what);
  FLOWAWR_ASSIGN_OR_RETURN(const Told told, ReadWhatIsTold(files, file, collected, alpha_if_untold));
  ImportedLora lora{.source = files.weights};
  for (const auto& [name, matrices] : collected.modules()) {
    std::optional<ImportedLoraModule> module = collected.Pair(name, matrices);
    if (!module.has_value()) continue;
    if (const absl::Status status = SetAlpha(told, matrices.alpha, *module); !status.ok())
      collected.Complain(status.message());
    lora.modules.push_back(*std::move(module));
  }
  FLOWAWR_RETURN_IF_ERROR(collected.Finish(files.weights));
  lora.stripped = collected.stripped();
  if (!lora.stripped.empty())
    spdlog::info("{}: read without what its trainer put into the names: {}", files.weights,
                 absl::StrJoin(lora.stripped, ", "));
  return lora;
}

at::Tensor MergedWeight(const at::Tensor& weight, const std::vector<LoraTerm>& terms) {
  const at::NoGradGuard no_grad;
  at::Tensor merged = weight.to(at::kFloat, /*non_blocking=*/false, /*copy=*/true).contiguous();
  at::Tensor matrix = merged.flatten(1);
  for (const auto& [module, scale] : terms)
    matrix.addmm_(MovedTo(module->B, matrix.device()), MovedTo(module->A, matrix.device()), 1, scale * module->scale());
  return merged;
}

}  // namespace flowawr
