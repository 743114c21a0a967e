// What `flowawr run` is about to do, checked before anything starts: the configuration, the folder, the command lines.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/thread_budget.h"
#include "common/base/folder_lock.h"
#include "flowawr/v1/config.pb.h"

namespace flowawr {

struct RunRequest {
  std::string config;                  // file, or the folder of a run
  std::vector<std::string> overrides;  // as of --set
  std::string run_dir;                 // empty: the configuration's
  bool resume = false;
  bool accept_changed_prompts = false;
  int cores = 1;
  std::string binaries;  // folder of flowawr-learner, flowawr-actor and flowawr-reward-server
};

// Where the processes of this machine compute, by names without `auto`.
struct RunDevices {
  std::vector<std::string> learner;  // dealt out among its ranks (DevicesOfRank()); at least one
  std::vector<std::string> actors;  // dealt to them in turn; at least one
  std::string reward_server;
  int accelerators = 0;  // among `actors`
  bool learner_has_accelerator = false;
};

// InvalidArgument, with the field, for a device that this machine does not have: the learner's too.
absl::StatusOr<RunDevices> FindRunDevices(const v1::RunConfig& config);

// "learner on cuda:0, actors on cuda:0, cuda:1, rewards on cuda:1".
std::string RunDevicesText(const RunDevices& devices);

struct RunPlan {
  v1::RunConfig config;  // with the run's folder, the model's defaults and the thread budget filled in
  ThreadBudget budget;
  RunDevices devices;
  std::string binaries;
  bool accept_changed_prompts = false;
  bool resumes = false;              // what the folder holds
  bool continues = false;            // from a checkpoint; a run to resume that has none begins anew
  std::vector<std::string> scorers;  // NAME[=KIND][,option=value...] for the run's own reward server; empty: there is none

  const std::string& run_dir() const { return config.run_dir(); }
  std::string ConfigFile() const { return run_dir() + "/config.yaml"; }              // once the learner has accepted it
  std::string StartingConfigFile() const { return run_dir() + "/config.yaml.new"; }  // until then
  std::string ActorNetworkFile() const { return EndpointFile("actors.yaml"); }  // of local actors, when they have a token
  std::string ScorerFile() const { return run_dir() + "/scorers.jsonl"; }  // loaded while the run goes on
  std::string LogFile(const std::string& process) const { return run_dir() + "/logs/" + process + ".log"; }
  std::string EndpointFile(const std::string& process) const { return run_dir() + "/endpoints/" + process; }
};

// Whether the run in `folder` goes on from a checkpoint. AlreadyExists for a folder that holds a run, or files of
// others, when `resume` is not set; NotFound for one without a run when it is; InvalidArgument for a file.
absl::StatusOr<bool> CheckRunFolder(const std::string& folder, bool resume);

// That what lora.init_from names, if anything, is there, else NotFound; the learner reads it.
absl::Status CheckInitialAdapter(const v1::LoraConfig& lora);

// Errors name the file or folder and what to do: NotFound for a missing model, prompt set, program or, with `resume`,
// run; AlreadyExists for a folder that holds a run when `resume` is not set; InvalidArgument from the configuration, or
// for a device that this machine does not have.
// Changes nothing. A folder in which a run was started, but failed before it had anything to keep, holds none.
absl::StatusOr<RunPlan> PlanRun(const RunRequest& request);

// Locks the folder, looks again at what it holds (with the errors of PlanRun), then makes the folders in it, writes the
// starting configuration, and removes the addresses of earlier processes and, of a run that ended before its first
// checkpoint, what was loaded for it. What the run is, config.yaml above all, is the learner's to change, once it has
// accepted the configuration. Aborted for a folder in use.
absl::StatusOr<FolderLock> PrepareRunFolder(RunPlan& plan);

// After the last process has ended: removes the addresses and the starting configuration.
void TidyRunFolder(const RunPlan& plan);

// The command lines. An empty `reward_endpoint` leaves the option out. `config_file` is one of the plan's two.
std::vector<std::string> RewardServerCommand(const RunPlan& plan, const std::string& listen,
                                             const std::string& config_file);
std::vector<std::string> LearnerCommand(const RunPlan& plan, const std::string& reward_endpoint, int lock_descriptor);
// Of a further rank of the learner, from 1: it reads what the learner does, and computes a share of its updates.
std::vector<std::string> RankCommand(const RunPlan& plan, int rank, const std::string& rank0);
std::vector<std::string> ActorCommand(const RunPlan& plan, int index, const std::string& learner_endpoint);

}  // namespace flowawr
