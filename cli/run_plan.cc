#include "cli/run_plan.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/run_inputs.h"
#include "common/base/checkpoint_names.h"
#include "common/base/device_list.h"
#include "common/base/file.h"
#include "common/base/host_port.h"
#include "common/base/shell_quote.h"
#include "common/base/status.h"
#include "common/config/paths.h"
#include "common/config/run_config.h"
#include "common/scoring/scorer_text.h"
#include "common/sd3/latent_shape.h"
#include "common/tensor/device_names.h"
#include "common/tensor/learner_devices.h"

namespace flowawr {
namespace {

namespace fs = std::filesystem;

bool Exists(const std::string& path) {
  std::error_code error;
  return fs::exists(path, error);
}

absl::Status CheckPrograms(const std::string& folder) {
  for (const char* program : {"flowawr-learner", "flowawr-actor", "flowawr-reward-server"}) {
    if (!Exists(absl::StrCat(folder, "/", program)))
      return absl::NotFoundError(absl::StrCat(folder, "/", program, " is missing; build it with scripts/build"));
  }
  return absl::OkStatus();
}

// As of the reward server's --scorer.
std::string ScorerArgument(const v1::RewardTerm& term) {
  v1::LoadScorerRequest scorer;
  scorer.set_name(term.scorer());
  scorer.set_kind(term.kind());
  *scorer.mutable_options() = term.options();
  return FormatScorer(scorer);
}

absl::StatusOr<std::vector<std::string>> Resolve(const std::vector<std::string>& names, const char* field) {
  absl::StatusOr<std::vector<std::string>> devices = ResolveDeviceNames(names);
  if (!devices.ok()) return Annotate(devices.status(), field);
  return devices;
}

void AddMetricsOptions(const RunPlan& plan, const std::string& process, std::vector<std::string>& command) {
  command.insert(command.end(), {"--metrics", HostPort{plan.config.network().metrics_host(), 0}.ToString(),
                                 "--metrics-endpoint-file", plan.EndpointFile(process + ".metrics")});
}

// Which rank of the learner a process is, all of them being on this machine. Said in full: the environment of `flowawr run`
// may be that of a job which has ranks of its own.
void AddRankOptions(const RunPlan& plan, int rank, std::vector<std::string>& command) {
  const std::string number = absl::StrCat(rank), ranks = absl::StrCat(plan.config.train().ranks());
  command.insert(command.end(), {"--rank", number, "--world", ranks, "--local-rank", number, "--local-world", ranks});
}

// Whose section `network` is an actor's: it sends the actors' token, and knows of no more than it needs.
v1::RunConfig ConfigOfActors(v1::RunConfig config) {
  v1::NetworkConfig& own = *config.mutable_network();
  own.clear_token_file();
  own.clear_reward_token_file();
  own.clear_operator_token_file();
  return config;
}

}  // namespace

absl::StatusOr<RunDevices> FindRunDevices(const v1::RunConfig& config) {
  const auto& local = config.local();
  const auto& learner = config.train().devices();
  const absl::StatusOr<std::vector<std::string>> of_learner =
      LearnerDevices({learner.begin(), learner.end()}, config.train().ranks());
  if (!of_learner.ok()) return Annotate(of_learner.status(), "train.devices");
  RunDevices devices;
  devices.learner = *of_learner;
  devices.learner_has_accelerator = of_learner->front() != "cpu";
  FLOWAWR_ASSIGN_OR_RETURN(devices.actors,
                           Resolve({local.actor_devices().begin(), local.actor_devices().end()}, "local.actor_devices"));
  absl::StatusOr<std::string> of_rewards = ResolveRewardDevice(local.reward_device());
  if (!of_rewards.ok()) return Annotate(of_rewards.status(), "local.reward_device");
  devices.reward_server = *std::move(of_rewards);
  for (int i = 0; i < config.rewards().terms_size(); ++i) {
    const v1::RewardTerm& term = config.rewards().terms(i);
    const auto option = term.options().find("device");
    if (!term.endpoint().empty() || option == term.options().end()) continue;
    FLOWAWR_RETURN_IF_ERROR(
        Annotate(CheckDeviceName(option->second), absl::StrCat("rewards.terms.", i, ".options.device")));
  }
  devices.accelerators = static_cast<int>(devices.actors.size() -
                                          std::count(devices.actors.begin(), devices.actors.end(), "cpu"));
  return devices;
}

std::string RunDevicesText(const RunDevices& devices) {
  return absl::StrCat("learner on ", DeviceListText(devices.learner), ", actors on ", DeviceListText(devices.actors),
                      ", rewards on ", devices.reward_server);
}

absl::StatusOr<bool> CheckRunFolder(const std::string& folder, bool resume) {
  std::error_code error;
  if (Exists(folder) && !fs::is_directory(folder, error))
    return absl::InvalidArgumentError(absl::StrCat("run_dir: ", folder, " is a file; a run needs a folder of its own"));
  FLOWAWR_ASSIGN_OR_RETURN(const std::vector<std::string> checkpoints, CheckpointNames(folder + "/checkpoints"));
  const bool has_checkpoint = !checkpoints.empty();
  const auto history = fs::file_size(folder + "/metrics.jsonl", error);
  const bool has_history = !error && history > 0;
  if (!resume && (has_checkpoint || has_history)) {
    return absl::AlreadyExistsError(absl::StrCat(folder, " already holds a run. Continue it by `flowawr run ",
                                                 ShellQuote(folder),
                                                 " --resume`, or choose another folder with --run-dir"));
  }
  if (const std::vector<std::string> taken = NamesTakenByOthers(folder); !resume && !taken.empty()) {
    return absl::AlreadyExistsError(absl::StrCat(folder, " holds ", absl::StrJoin(taken, ", "),
                                                 ", which no run wrote and a run would write over: choose a folder of ",
                                                 "its own with --run-dir, or move them away"));
  }
  if (resume && !has_checkpoint && !Exists(folder + "/config.yaml"))
    return absl::NotFoundError(absl::StrCat(
        folder, " holds no run to resume; start one without --resume (a run that is only paused: `flowawr resume ",
        ShellQuote(folder), "`)"));
  return has_checkpoint;
}

absl::Status CheckInitialAdapter(const v1::LoraConfig& lora) {
  std::error_code ignored;
  if (lora.init_from().empty() || fs::exists(lora.init_from(), ignored)) return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat("lora.init_from: ", lora.init_from(),
                                          " does not exist; a relative path starts at the working directory"));
}

absl::StatusOr<RunPlan> PlanRun(const RunRequest& request) {
  RunPlan plan;
  plan.binaries = request.binaries;
  plan.accept_changed_prompts = request.accept_changed_prompts;
  plan.resumes = request.resume;
  FLOWAWR_ASSIGN_OR_RETURN(plan.config, LoadRunConfig(request.config, request.overrides));
  if (!request.run_dir.empty()) plan.config.set_run_dir(request.run_dir);
  FLOWAWR_ASSIGN_OR_RETURN(plan.continues, CheckRunFolder(plan.run_dir(), request.resume));
  FLOWAWR_RETURN_IF_ERROR(CheckRunInputs(plan.config));
  FLOWAWR_RETURN_IF_ERROR(Annotate(FillInModelDefaults(plan.config.mutable_model()), "model.path"));
  if (!plan.continues) FLOWAWR_RETURN_IF_ERROR(CheckInitialAdapter(plan.config.lora()));
  FLOWAWR_RETURN_IF_ERROR(CheckPrograms(plan.binaries));
  FLOWAWR_ASSIGN_OR_RETURN(plan.devices, FindRunDevices(plan.config));

  const std::string run_dir = plan.run_dir();  // shown as it was typed
  MakePathsAbsolute(&plan.config);
  plan.config.set_run_dir(run_dir);
  plan.budget = BudgetThreads(request.cores, plan.config, plan.devices.accelerators);
  plan.config.mutable_train()->set_threads(plan.budget.learner_threads);
  v1::LocalConfig& local = *plan.config.mutable_local();
  local.set_actors(plan.budget.actors);
  local.set_actor_threads(plan.budget.actor_threads);
  local.set_reward_threads(plan.budget.reward_threads);
  for (const v1::RewardTerm& term : plan.config.rewards().terms())
    if (term.endpoint().empty()) plan.scorers.push_back(ScorerArgument(term));
  return plan;
}

absl::StatusOr<FolderLock> PrepareRunFolder(RunPlan& plan) {
  FLOWAWR_ASSIGN_OR_RETURN(FolderLock lock, FolderLock::Take(plan.run_dir()));
  // Another command may have begun or ended a run here since the plan was made: what the lock protects counts.
  FLOWAWR_ASSIGN_OR_RETURN(plan.continues, CheckRunFolder(plan.run_dir(), plan.resumes));
  TidyRunFolder(plan);  // of a run that was killed
  std::error_code ignored;
  if (!plan.continues) fs::remove(plan.ScorerFile(), ignored);
  FLOWAWR_RETURN_IF_ERROR(MakeDirectories(plan.run_dir() + "/endpoints"));
  FLOWAWR_RETURN_IF_ERROR(MakeDirectories(plan.run_dir() + "/logs"));
  FLOWAWR_ASSIGN_OR_RETURN(const std::string yaml, RunConfigToYaml(plan.config));
  FLOWAWR_RETURN_IF_ERROR(WriteFileAtomically(plan.StartingConfigFile(), yaml));
  if (!plan.config.network().actor_token_file().empty()) {
    FLOWAWR_ASSIGN_OR_RETURN(const std::string network, RunConfigToYaml(ConfigOfActors(plan.config)));
    FLOWAWR_RETURN_IF_ERROR(WriteFileAtomically(plan.ActorNetworkFile(), network));
  }
  return lock;
}

void TidyRunFolder(const RunPlan& plan) {
  std::error_code ignored;
  fs::remove_all(plan.run_dir() + "/endpoints", ignored);
  fs::remove(plan.StartingConfigFile(), ignored);
}

std::vector<std::string> RewardServerCommand(const RunPlan& plan, const std::string& listen,
                                             const std::string& config_file) {
  std::vector<std::string> command = {plan.binaries + "/flowawr-reward-server",
                                      "--listen",
                                      listen,
                                      "--threads",
                                      absl::StrCat(plan.budget.reward_threads),
                                      "--device",
                                      plan.devices.reward_server,
                                      "--endpoint-file",
                                      plan.EndpointFile("reward-server"),
                                      "--network-config",
                                      config_file};
  for (const std::string& scorer : plan.scorers) command.insert(command.end(), {"--scorer", scorer});
  command.insert(command.end(), {"--remember", plan.ScorerFile()});
  AddMetricsOptions(plan, "reward-server", command);
  return command;
}

std::vector<std::string> LearnerCommand(const RunPlan& plan, const std::string& reward_endpoint, int lock_descriptor) {
  std::vector<std::string> command = {plan.binaries + "/flowawr-learner", "--config", plan.StartingConfigFile(),
                                      "--lock-fd", absl::StrCat(lock_descriptor)};
  if (!reward_endpoint.empty()) command.insert(command.end(), {"--reward-endpoint", reward_endpoint});
  if (plan.resumes) command.push_back("--resume");
  if (plan.accept_changed_prompts) command.push_back("--accept-changed-prompts");
  AddRankOptions(plan, 0, command);
  AddMetricsOptions(plan, "learner", command);
  return command;
}

std::vector<std::string> RankCommand(const RunPlan& plan, int rank, const std::string& rank0) {
  std::vector<std::string> command = {plan.binaries + "/flowawr-learner", "--config", plan.ConfigFile(), "--rank0", rank0};
  AddRankOptions(plan, rank, command);
  AddMetricsOptions(plan, absl::StrCat("rank-", rank), command);
  return command;
}

std::vector<std::string> ActorCommand(const RunPlan& plan, int index, const std::string& learner_endpoint) {
  const std::string name = absl::StrCat("actor-", index);
  std::vector<std::string> command = {
      plan.binaries + "/flowawr-actor",        "--learner",  learner_endpoint,
      "--id",                                  name,         "--threads",
      absl::StrCat(plan.budget.actor_threads), "--device",   plan.devices.actors[index % plan.devices.actors.size()],
      "--network-config",
      plan.config.network().actor_token_file().empty() ? plan.ConfigFile() : plan.ActorNetworkFile()};
  AddMetricsOptions(plan, name, command);
  return command;
}

}  // namespace flowawr
