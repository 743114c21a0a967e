#include "common/sd3/component_fingerprints.h"

#include <torch/headeronly/version.h>
#include <torch/types.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "common/base/file.h"
#include "common/base/sha256.h"
#include "common/base/status.h"
#include "common/base/utf8.h"
#include "common/sd3/model_fingerprint.h"
#include "common/sd3/scheduler.h"
#include "common/sd3/vae_config.h"
#include "common/tensor/checkpoint.h"
#include "common/tensor/placement.h"
#include "common/tensor/safetensors.h"

namespace flowawr {
namespace {

namespace fs = std::filesystem;

// To be raised whenever the same lease gives other bits than before: by another kernel, order of sums, noise or solver.
constexpr int kArithmetic = 1;

constexpr int64_t kSampleBytes = 4096;
constexpr size_t kShownDigits = 12;
constexpr size_t kMostShown = 100;

// Hidden files are not the tokenizer's.
absl::StatusOr<std::string> HashTokenizer(const std::string& folder) {
  std::error_code error;
  std::set<std::string> names;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (entry->is_regular_file(error) && !absl::StartsWith(name, ".")) names.insert(name);
  }
  if (names.empty()) return std::string();
  std::string canonical;
  for (const std::string& name : names) {
    FLOWAWR_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(absl::StrCat(folder, "/", name)));
    absl::StrAppend(&canonical, name, " ", HexSha256(bytes), "\n");
  }
  return HexSha256(canonical);
}

absl::StatusOr<std::string> HashConfig(const std::string& folder) {
  const absl::StatusOr<std::string> bytes = ReadFile(folder + "/config.json");
  if (absl::IsNotFound(bytes.status())) return std::string();
  FLOWAWR_RETURN_IF_ERROR(bytes.status());
  return HexSha256(*bytes);
}

absl::StatusOr<std::string> HashWeightSamples(const std::string& folder) {
  const absl::StatusOr<CheckpointTensors> weights = OpenCheckpoint(folder, "model");
  if (absl::IsNotFound(weights.status())) return std::string();
  FLOWAWR_RETURN_IF_ERROR(weights.status());
  Sha256Hasher hasher;
  for (const auto& [name, tensor] : weights->tensors) {
    const auto size = static_cast<int64_t>(tensor.nbytes());
    hasher.Update(
        absl::StrCat(name, " ", c10::toString(tensor.scalar_type()), " [", absl::StrJoin(tensor.sizes(), ","), "]\n"));
    if (size == 0) continue;
    const char* bytes = static_cast<const char*>(tensor.const_data_ptr());
    const int64_t last = std::max<int64_t>(size - kSampleBytes, 0);
    for (const int64_t at : {int64_t{0}, last / 2, last})
      hasher.Update({bytes + at, static_cast<size_t>(std::min(kSampleBytes, size))});
    DropPages(tensor);
  }
  return absl::BytesToHexString(hasher.Finish());
}

absl::StatusOr<std::string> HashVae(const std::string& folder) {
  const std::string config_path = folder + "/config.json";
  FLOWAWR_ASSIGN_OR_RETURN(const std::string json, ReadFile(config_path));
  FLOWAWR_ASSIGN_OR_RETURN(const VaeConfig config, ParseVaeConfig(json, config_path));
  FLOWAWR_ASSIGN_OR_RETURN(CheckpointTensors weights, OpenCheckpoint(folder, "diffusion_pytorch_model"));
  return ModelFingerprint(config.Canonical(), std::move(weights.tensors)).Hex();
}

absl::StatusOr<std::string> SchedulerText(const std::string& folder) {
  FLOWAWR_ASSIGN_OR_RETURN(const SchedulerConfig config, SchedulerConfig::Load(folder));
  // A JSON number has all the digits that tell one value from another.
  return absl::StrCat("shift ", nlohmann::json(config.shift).dump(), ", ", config.num_train_timesteps, " timesteps");
}

// Digests by their beginning, as people compare them; other texts as they are. They come from a peer, too.
std::string Shown(const ComponentFingerprints& of, const std::string& part) {
  const auto found = of.find(part);
  if (found == of.end()) return "none";
  const std::string& value = found->second;
  const bool is_digest = value.size() == 64 && std::all_of(value.begin(), value.end(), absl::ascii_isxdigit);
  return is_digest ? value.substr(0, kShownDigits) : absl::StrCat("\"", TruncateUtf8(value, kMostShown), "\"");
}

}  // namespace

absl::StatusOr<ComponentFingerprints> FingerprintTextSide(const ComponentLoader& index) {
  ComponentFingerprints parts;
  const auto add = [&](const std::string& name, absl::StatusOr<std::string> hash) -> absl::Status {
    if (!hash.ok()) return Annotate(hash.status(), name);
    parts[name] = *std::move(hash);
    return absl::OkStatus();
  };
  for (const char* suffix : {"", "_2", "_3"}) {
    const std::string tokenizer = absl::StrCat("tokenizer", suffix), encoder = absl::StrCat("text_encoder", suffix);
    if (!index.Has(encoder)) {
      parts[encoder] = "none";
      continue;
    }
    const std::string path = absl::StrCat(index.folder(), "/", encoder);
    FLOWAWR_RETURN_IF_ERROR(add(tokenizer, HashTokenizer(absl::StrCat(index.folder(), "/", tokenizer))));
    FLOWAWR_RETURN_IF_ERROR(add(encoder + " configuration", HashConfig(path)));
    FLOWAWR_RETURN_IF_ERROR(add(encoder + " weights", HashWeightSamples(path)));
  }
  return parts;
}

absl::StatusOr<ComponentFingerprints> FingerprintModel(const std::string& folder, const Transformer& transformer,
                                                       at::ScalarType dtype) {
  FLOWAWR_ASSIGN_OR_RETURN(const ComponentLoader index, ComponentLoader::Open(folder, /*progress=*/nullptr));
  FLOWAWR_ASSIGN_OR_RETURN(ComponentFingerprints parts, FingerprintTextSide(index));
  std::erase_if(parts, [](const auto& part) { return part.second.empty(); });
  for (const auto& [part, fingerprint] :
       {std::pair("vae", HashVae(folder + "/vae")), std::pair("scheduler", SchedulerText(folder + "/scheduler"))}) {
    if (absl::IsNotFound(fingerprint.status())) continue;
    if (!fingerprint.ok()) return Annotate(fingerprint.status(), part);
    parts[part] = *fingerprint;
  }
  parts["transformer"] = transformer.fingerprint();
  parts["dtype"] = NameOf(dtype);
  parts["software"] = absl::StrCat("arithmetic ", kArithmetic, ", LibTorch ", TORCH_VERSION);
  return parts;
}

std::vector<std::string> DescribeDifferences(const ComponentFingerprints& ours, const std::string& our_name,
                                             const ComponentFingerprints& theirs, const std::string& their_name) {
  std::vector<std::string> differences;
  for (const auto& [part, value] : ours) {
    const auto other = theirs.find(part);
    if (other != theirs.end() && other->second == value) continue;
    differences.push_back(absl::StrCat(part, absl::EndsWith(part, " weights") ? " differ (" : " differs (", their_name,
                                       " ", Shown(theirs, part), ", ", our_name, " ", Shown(ours, part), ")"));
  }
  return differences;
}

bool IsPartOfModel(absl::string_view part) {
  if (part == "transformer" || part == "vae" || part == "scheduler" || part == "dtype" || part == "software") return true;
  absl::string_view rest = part;
  const bool is_encoder = absl::ConsumePrefix(&rest, "text_encoder");
  if (!is_encoder && !absl::ConsumePrefix(&rest, "tokenizer")) return false;
  if (!absl::ConsumePrefix(&rest, "_2")) absl::ConsumePrefix(&rest, "_3");
  return rest.empty() || (is_encoder && (rest == " configuration" || rest == " weights"));
}

bool IsOfModelFolder(const std::string& part) { return part != "dtype" && part != "software"; }

}  // namespace flowawr
