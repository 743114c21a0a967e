// What a run directory tells without its learner: its configuration, its newest checkpoint, where its learner answers.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "common/rpc/endpoint_file.h"
#include "flowawr/v1/checkpoint.pb.h"
#include "flowawr/v1/config.pb.h"

namespace flowawr {

// RUN_DIR/config.yaml. NotFound, saying what a run directory is, when `run_dir` is none.
absl::StatusOr<v1::RunConfig> ReadRunFolderConfig(const std::string& run_dir);

// How a command reaches what belongs to a run: by the file `network_config`, else by the run's own configuration, else
// by the defaults. Either may be empty.
absl::StatusOr<v1::NetworkConfig> FindNetworkConfig(const std::string& network_config, const std::string& run_dir);

struct CheckpointFolder {
  std::string path;
  v1::CheckpointManifest manifest;
};

// The checkpoint of the highest update. NotFound when there is none; DataLoss, naming the file and what to do, when any
// byte of it was changed: an older one would answer another question than was asked.
absl::StatusOr<CheckpointFolder> NewestCheckpoint(const std::string& run_dir);

// A stopped run's state as the learner would have told it at that checkpoint. Pure.
v1::Status StatusOfCheckpoint(const CheckpointFolder& checkpoint, const std::string& run_dir);

// What a finished run is resumed with to train on: an option of `flowawr run`. One that ended early must be told to go on
// in spite of what ended it: `end_reason`, as the learner tells it, names the field. Pure.
std::string SettingsToTrainOn(const v1::RunConfig& config, const std::string& end_reason);

// The folder of the adapter for peft that a finished run, or `flowawr export`, left; it need not be there.
std::string ExportedPeftFolder(const std::string& run_dir);

// Where the run's learner answers, and which process that must be: RUN_DIR/endpoints/learner. Unavailable for a run
// that is stopped, and for a copy of one that goes on elsewhere.
absl::StatusOr<Endpoint> LearnerEndpointOf(const std::string& run_dir);

// RUN_DIR/endpoints/reward-server, likewise. Unavailable, too, for a run whose terms all name reward servers elsewhere.
absl::StatusOr<Endpoint> RewardServerEndpointOf(const std::string& run_dir);

}  // namespace flowawr
