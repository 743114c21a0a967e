#include "cli/run_folder.h"

#include <google/protobuf/util/json_util.h>

#include <filesystem>
#include <system_error>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/checkpoint_names.h"
#include "common/base/file.h"
#include "common/base/sha256_sums.h"
#include "common/base/shell_quote.h"
#include "common/base/status.h"
#include "common/config/run_config.h"
#include "common/config/run_status.h"
#include "common/rpc/endpoint_file.h"

namespace flowawr {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMostManifestBytes = size_t{64} << 20;

}  // namespace

absl::StatusOr<v1::RunConfig> ReadRunFolderConfig(const std::string& run_dir) {
  const std::string file = run_dir + "/config.yaml";
  std::error_code ignored;
  if (!fs::exists(file, ignored)) {
    return absl::NotFoundError(absl::StrCat(run_dir,
                                            " is not a run directory (it has no config.yaml): name the run_dir ",
                                            "of a configuration that `flowawr run` was started with"));
  }
  FLOWAWR_ASSIGN_OR_RETURN(v1::RunConfig config, LoadRunConfig(file));
  config.set_run_dir(run_dir);  // wherever it was moved or copied to
  return config;
}

absl::StatusOr<v1::NetworkConfig> FindNetworkConfig(const std::string& network_config, const std::string& run_dir) {
  if (!network_config.empty() || run_dir.empty()) return LoadNetworkConfig(network_config);
  FLOWAWR_ASSIGN_OR_RETURN(const v1::RunConfig config, ReadRunFolderConfig(run_dir));
  return config.network();
}

absl::StatusOr<CheckpointFolder> NewestCheckpoint(const std::string& run_dir) {
  const std::string folder = run_dir + "/checkpoints";
  FLOWAWR_ASSIGN_OR_RETURN(const std::vector<std::string> names, CheckpointNames(folder));
  if (names.empty())
    return absl::NotFoundError(absl::StrCat(folder, " holds no checkpoint: the run stopped before its first one"));
  CheckpointFolder checkpoint{absl::StrCat(folder, "/", names.front()), {}};
  const absl::Status whole = CheckSha256Sums(checkpoint.path, {"checkpoint.json"});
  if (!whole.ok())
    return absl::DataLossError(absl::StrCat("the newest checkpoint is broken: ", whole.message(),
                                            ". To use the one before it, move ", checkpoint.path, " away"));
  const std::string file = checkpoint.path + "/checkpoint.json";
  FLOWAWR_ASSIGN_OR_RETURN(const std::string json, ReadFile(file, kMostManifestBytes));
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;
  if (!google::protobuf::util::JsonStringToMessage(json, &checkpoint.manifest, options).ok())
    return absl::DataLossError(absl::StrCat(file, " is no checkpoint manifest"));
  if (const std::string name = CheckpointName(checkpoint.manifest.update()); name != names.front())
    return absl::DataLossError(absl::StrCat(checkpoint.path, " was renamed: it is the checkpoint of update ",
                                            checkpoint.manifest.update(), ", so call it ", name, " again"));
  return checkpoint;
}

v1::Status StatusOfCheckpoint(const CheckpointFolder& checkpoint, const std::string& run_dir) {
  const v1::CheckpointManifest& manifest = checkpoint.manifest;
  v1::Status status = StatusOfManifest(manifest, manifest.config());
  status.set_run_dir(run_dir);  // wherever it was moved or copied to
  const bool is_finished = IsFinished(manifest);
  status.set_phase(is_finished ? v1::FINISHED : v1::PAUSED);
  const std::string& reason = manifest.end_reason();
  status.set_message(is_finished ? EndMessage(manifest)
                                 : absl::StrCat("stopped", reason.empty() ? "" : absl::StrCat("; ", reason), "; `flowawr run ",
                                                ShellQuote(run_dir), " --resume` goes on"));
  status.set_last_checkpoint(checkpoint.path);
  return status;
}

std::string SettingsToTrainOn(const v1::RunConfig& config, const std::string& end_reason) {
  if (absl::StrContains(end_reason, "train.target_reward")) return "--set train.target_reward=0";
  if (!end_reason.empty()) return "--set evaluation.on_drop=warn";
  return absl::StrCat("--set train.updates=", 2 * config.train().updates());
}

std::string ExportedPeftFolder(const std::string& run_dir) { return run_dir + "/export/peft"; }

namespace {

// What to do about a run of which no learner runs.
std::string HowToGoOn(const std::string& run_dir) {
  const std::string resume = absl::StrCat("`flowawr run ", ShellQuote(run_dir), " --resume");
  const absl::StatusOr<CheckpointFolder> newest = NewestCheckpoint(run_dir);
  if (newest.ok() && IsFinished(newest->manifest))
    return absl::StrCat("the run has finished. ", resume, " ",
                        SettingsToTrainOn(newest->manifest.config(), newest->manifest.end_reason()), "` trains on");
  return absl::StrCat("the run is stopped. ", resume, "` goes on with it");
}

}  // namespace

absl::StatusOr<Endpoint> LearnerEndpointOf(const std::string& run_dir) {
  const absl::StatusOr<Endpoint> endpoint = ReadEndpoint(run_dir + "/endpoints/learner");
  if (absl::IsNotFound(endpoint.status())) {
    return absl::UnavailableError(absl::StrCat("no learner runs for ", run_dir, ": ", HowToGoOn(run_dir)));
  }
  return endpoint;
}

absl::StatusOr<Endpoint> RewardServerEndpointOf(const std::string& run_dir) {
  const absl::StatusOr<Endpoint> endpoint = ReadEndpoint(run_dir + "/endpoints/reward-server");
  if (absl::IsNotFound(endpoint.status())) {
    return absl::UnavailableError(absl::StrCat(run_dir, " has no reward server of its own that runs: either the run ",
                                               "is over or stopped, or its rewards come from elsewhere; name one by --server"));
  }
  return endpoint;
}

}  // namespace flowawr
