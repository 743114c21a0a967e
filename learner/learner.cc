#include "learner/learner.h"

#include <ATen/Parallel.h>
#include <google/protobuf/util/message_differencer.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/notification.h"
#include "common/base/file.h"
#include "common/base/host_port.h"
#include "common/base/ids.h"
#include "common/base/allocator.h"
#include "common/base/status.h"
#include "common/base/utf8.h"
#include "common/base/version.h"
#include "common/config/paths.h"
#include "common/config/rules.h"
#include "common/config/run_config.h"
#include "common/diffusion/sigmas.h"
#include "common/process/exit_code.h"
#include "common/process/processor.h"
#include "common/process/start_metrics.h"
#include "common/rpc/endpoint_file.h"
#include "common/rpc/peer.h"
#include "common/rpc/server.h"
#include "common/rpc/token.h"
#include "common/scoring/reward_terms.h"
#include "common/sd3/component_fingerprints.h"
#include "common/sd3/compute_dtype.h"
#include "common/sd3/configured_layout.h"
#include "common/sd3/latent_shape.h"
#include "common/sd3/model_folder.h"
#include "common/sd3/scheduler.h"
#include "common/telemetry/log.h"
#include "common/telemetry/read_progress.h"
#include "common/telemetry/trace.h"
#include "common/tensor/determinism.h"
#include "common/tensor/device_error.h"
#include "common/tensor/device_facts.h"
#include "common/tensor/devices.h"
#include "common/tensor/learner_devices.h"
#include "learner/checkpoint_copies.h"
#include "learner/clean_text.h"
#include "learner/control_service.h"
#include "learner/device_mix.h"
#include "learner/initial_adapter.h"
#include "learner/learner_metrics.h"
#include "learner/live_page.h"
#include "learner/local_gradient_engine.h"
#include "learner/policy_service.h"
#include "learner/prompt_sets.h"
#include "learner/ranks/nccl.h"
#include "learner/ranks/ranked_gradient_engine.h"
#include "learner/ranks/serve_rank.h"
#include "learner/resume_check.h"
#include "learner/rollout_service.h"
#include "learner/run_loop.h"
#include "learner/run_model.h"
#include "learner/scorer_keeper.h"

namespace flowawr {
namespace {

constexpr int64_t kWideModel = 1024;  // whose activations are megabytes

// As this learner reads it: with full paths and with what the model was made for.
absl::StatusOr<v1::RunConfig> LoadWholeConfig(const std::string& path) {
  FLOWAWR_ASSIGN_OR_RETURN(v1::RunConfig config, LoadRunConfig(path));
  MakePathsAbsolute(&config);
  if (const absl::Status filled = FillInModelDefaults(config.mutable_model()); !filled.ok()) {
    FLOWAWR_RETURN_IF_ERROR(CheckModelFolder(config.model().path()));
    return filled;
  }
  return config;
}

v1::RewardSpec SpecOf(const v1::RewardsConfig& rewards) {
  v1::RewardSpec spec;
  spec.set_version(1);
  spec.set_from_update(1);
  for (const v1::RewardTerm& term : rewards.terms()) *spec.add_terms() = SpecTermOf(term);
  return spec;
}

absl::StatusOr<GroupShape> ShapeOf(const v1::ModelConfig& model, const SchedulerConfig& scheduler) {
  FLOWAWR_ASSIGN_OR_RETURN(const PictureSizes sizes, ReadPictureSizes(model.path()));
  const absl::StatusOr<LatentShape> latents = sizes.LatentShapeFor(model.height(), model.width());
  if (!latents.ok()) return Annotate(latents.status(), "model.height, model.width");
  GroupShape shape;
  shape.channels = latents->channels;
  shape.latent_height = latents->height;
  shape.latent_width = latents->width;
  shape.embed_dim = sizes.transformer.joint_attention_dim;
  shape.pooled_dim = sizes.transformer.pooled_projection_dim;
  shape.max_tokens = 77 + model.max_sequence_length();
  shape.image_height = model.height();
  shape.image_width = model.width();
  shape.scheduler_shift = scheduler.shift;
  shape.num_train_timesteps = scheduler.num_train_timesteps;
  return shape;
}

// A stream on which an actor sends nothing, or reads nothing, for so long is ended.
constexpr absl::Duration kLongestSilence = absl::Seconds(30);
// Of the calls that hold one: those of Control that wait for the run loop.
constexpr int kMaxThreads = 32;

// Where the run stands: its newest checkpoint, or the beginning.
struct Standing {
  PolicyRoles roles;
  v1::CheckpointManifest manifest;
  std::optional<uint64_t> resumed_from = std::nullopt;  // update; nullopt: the beginning
  std::string shadows = "", watch = "";                 // as of RunLoop::Parts
  std::vector<std::string> warnings = {};               // of how it goes on
};

std::string DeviceKindOf(const Transformer& transformer) {
  return DeviceMix::KindOf(DescribeDevice(transformer.placement().device));
}

// As `checkpoint` was made. Before its device was noted, model.deterministic may not have been known.
BitSources BitSourcesOf(const FoundCheckpoint& checkpoint) {
  BitSources sources{.instruction_set = checkpoint.manifest.instruction_set(),
                     .device = ReadNote(checkpoint, RunLoop::kDeviceNote)};
  if (!sources.device.empty()) sources.deterministic = checkpoint.manifest.config().model().deterministic();
  return sources;
}

// A run that was killed before its first checkpoint begins anew as itself, so that its actors come back to it, unless
// it is given another configuration.
std::string RunIdOf(const LearnerOptions& options, const v1::RunConfig& config, const RunDirectory& directory) {
  const std::string id = directory.ReadRunId();
  if (id.empty() || !options.is_resume) return RandomId();
  const absl::StatusOr<v1::RunConfig> before = LoadWholeConfig(absl::StrCat(directory.path(), "/", kRunConfigFile));
  if (!before.ok() || !CheckResumable(*before, config).ok()) return RandomId();
  // Without a checkpoint nothing tells what the prompt files held.
  const bool same_prompts = google::protobuf::util::MessageDifferencer::Equals(before->prompts(), config.prompts());
  return same_prompts ? id : RandomId();
}

absl::StatusOr<PolicyRoles> FirstRoles(const v1::RunConfig& config, const Transformer& transformer,
                                       const std::shared_ptr<const LoraLayout>& layout) {
  const std::string& path = config.lora().init_from();
  if (path.empty()) return PolicyRoles::Initialise(layout, config.seed());
  FLOWAWR_ASSIGN_OR_RETURN(LoraAdapter adapter, LoadInitialAdapter(path, transformer, layout));
  spdlog::info("the policies start from {}", path);
  return PolicyRoles::StartFrom(std::move(adapter));
}

absl::StatusOr<Standing> FindStanding(const LearnerOptions& options, const v1::RunConfig& config,
                                      const Transformer& transformer, const ComponentFingerprints& parts,
                                      const std::shared_ptr<const LoraLayout>& layout, RunDirectory& directory) {
  const std::string instructions(kernels::NameOf(kernels::ActiveInstructionSet()));
  FLOWAWR_ASSIGN_OR_RETURN(const std::optional<FoundCheckpoint> found, FindCheckpoint(directory.path()));
  if (found && !options.is_resume)
    return absl::AlreadyExistsError(absl::StrCat("the run directory ", directory.path(), " holds a run at update ",
                                                 found->manifest.update(),
                                                 "; give --resume to go on with it, or another --run-dir"));
  if (!found) {
    FLOWAWR_ASSIGN_OR_RETURN(PolicyRoles roles, FirstRoles(config, transformer, layout));
    Standing fresh{std::move(roles), {}};
    fresh.manifest.set_run_id(RunIdOf(options, config, directory));
    fresh.manifest.set_next_version(1);
    RecordModel(parts, &fresh.manifest);
    *fresh.manifest.mutable_reward_spec() = CleanText(SpecOf(config.rewards()));
    fresh.manifest.set_instruction_set(instructions);
    return fresh;
  }
  FLOWAWR_RETURN_IF_ERROR(CheckResumable(found->manifest.config(), config));
  FLOWAWR_RETURN_IF_ERROR(CheckUpdatesAhead(found->manifest.update(), config));
  FLOWAWR_RETURN_IF_ERROR(CheckSameModel(found->manifest, config.model().path(), parts));
  FLOWAWR_ASSIGN_OR_RETURN(PolicyRoles roles, LoadCheckpoint(*found, layout));
  spdlog::info("resumed {} at update {}", found->folder, found->manifest.update());
  Standing standing{std::move(roles), found->manifest, found->manifest.update(),
                    ReadNote(*found, RunLoop::kShadowsNote), ReadNote(*found, RunLoop::kWatchNote)};
  std::string warning = WarningOfOtherBits(BitSourcesOf(*found), {.instruction_set = instructions,
                                                                  .device = DeviceKindOf(transformer),
                                                                  .deterministic = config.model().deterministic()});
  if (!warning.empty()) {
    spdlog::warn("{}", warning);
    standing.warnings.push_back(std::move(warning));
  }
  standing.manifest.set_instruction_set(instructions);
  TakeMaxDrops(found->manifest.config().rewards(), config.rewards(), standing.manifest.mutable_reward_spec());
  return standing;
}

// Refuses a folder with files of somebody else that this run would write over. To be asked before the run's lock lies there.
// A config.yaml alone may be the very configuration that is given.
absl::Status CheckNothingOfOthers(const LearnerOptions& options, const std::string& run_dir) {
  if (options.is_resume || options.lock_descriptor >= 0) return absl::OkStatus();  // `flowawr run` has looked
  std::vector<std::string> taken = NamesTakenByOthers(run_dir);
  std::erase(taken, kRunConfigFile);
  if (taken.empty()) return absl::OkStatus();
  return absl::AlreadyExistsError(absl::StrCat("the run directory ", run_dir, " holds ", absl::StrJoin(taken, ", "),
                                               ", which no run wrote and a run would write over: choose another ",
                                               "run_dir, or move them away"));
}

// Every reward needs a server, or no actor could ever deliver a group.
absl::Status CheckRewardEndpoints(const LearnerOptions& options, const v1::RewardSpec& spec) {
  if (!options.reward_endpoint.empty())
    return Annotate(ParseHostPort(options.reward_endpoint).status(), "--reward-endpoint");
  for (const v1::RewardSpecTerm& term : spec.terms()) {
    if (term.endpoint().empty())
      return absl::InvalidArgumentError(absl::StrCat(
          "the reward ", term.scorer(), " names no reward server: give --reward-endpoint HOST:PORT (start one with ",
          "flowawr-reward-server), or set its rewards.terms endpoint; `flowawr run` does all of it by itself"));
  }
  return absl::OkStatus();
}

// Somebody's own config.yaml stays as they wrote it as long as it says the same.
absl::Status WriteRunConfig(const v1::RunConfig& config) {
  const std::string file = absl::StrCat(config.run_dir(), "/", kRunConfigFile);
  const absl::StatusOr<v1::RunConfig> there = LoadWholeConfig(file);
  if (there.ok() && google::protobuf::util::MessageDifferencer::Equals(*there, config)) return absl::OkStatus();
  FLOWAWR_ASSIGN_OR_RETURN(const std::string yaml, RunConfigToYaml(config));
  return WriteFileAtomically(file, yaml);
}

// From here on the folder holds this run as it is going on now. Nothing in it has changed before.
absl::Status TakeOver(RunDirectory& directory, const v1::RunConfig& config, const std::string& run_id,
                      std::optional<uint64_t> resumed_from) {
  FLOWAWR_RETURN_IF_ERROR(directory.TruncateMetrics(resumed_from));
  directory.DropPictureHistory(resumed_from);
  FLOWAWR_RETURN_IF_ERROR(directory.WriteRunId(run_id));
  FLOWAWR_RETURN_IF_ERROR(WriteRunConfig(config));
  return MakeDirectories(directory.path() + "/endpoints");
}

// Actors hear of these folders in a message, whose text is UTF-8.
absl::Status CheckActorsCanBeTold(const v1::ModelConfig& model) {
  for (const auto& [field, path] :
       {std::pair("model.path", model.path()), std::pair("model.embeds_cache", model.embeds_cache())})
    if (!IsValidUtf8(path))
      return absl::InvalidArgumentError(
          absl::StrCat(field, ": ", SanitizeUtf8(path), " has a byte in its name that is not UTF-8, so that actors ",
                       "cannot be told of it: rename it, or name it by a link"));
  return absl::OkStatus();
}

// Null without checkpoint.copy_to.
std::unique_ptr<CheckpointCopies> CopiesOf(const v1::RunConfig& config, StatusBoard& board) {
  const std::string& place = config.checkpoint().copy_to();
  if (place.empty()) return nullptr;
  return std::make_unique<CheckpointCopies>(config.run_dir(), place, [&board](const std::string& warning) {
    board.SetStandingWarnings("copies", warning.empty() ? std::vector<std::string>() : std::vector{warning});
  });
}

absl::Duration HeartbeatOf(const v1::RunConfig& config) {
  return std::min(absl::Seconds(config.rollout().lease_timeout_s() / 4), ActorBook::kGone / 2);
}

LeaseDesk::Options LeaseOptions(const LearnerOptions& options, const v1::RunConfig& config, const GroupShape& shape,
                                const v1::CheckpointManifest& manifest) {
  LeaseDesk::Options desk;
  desk.leases.timeout = absl::Seconds(config.rollout().lease_timeout_s());
  desk.leases.max_attempts = config.rollout().max_attempts();
  desk.batches.groups_per_batch = config.rollout().groups_per_batch();
  desk.batches.max_staleness = config.rollout().max_staleness();
  desk.next_group = manifest.next_group();
  desk.consumed_groups = {manifest.consumed_groups().begin(), manifest.consumed_groups().end()};
  desk.shape = shape;
  desk.heartbeat = HeartbeatOf(config);
  desk.default_reward_endpoint = options.reward_endpoint;
  return desk;
}

// One on each of this rank's share of train.devices.
absl::StatusOr<std::vector<std::shared_ptr<const Transformer>>> LoadTransformers(const LearnerOptions& options,
                                                                                 const v1::RunConfig& config) {
  const auto& names = config.train().devices();
  const absl::StatusOr<std::vector<std::string>> devices =
      LearnerDevices({names.begin(), names.end()}, options.local_world);
  if (!devices.ok()) return Annotate(devices.status(), "train.devices");
  const std::string shared = WarningOfSharedDevices(*devices, options.local_world);
  if (!shared.empty() && options.local_rank == 0) spdlog::warn("{}", shared);
  std::vector<std::shared_ptr<const Transformer>> transformers;
  for (const std::string& name : DevicesOfRank(*devices, options.local_rank, options.local_world)) {
    FLOWAWR_ASSIGN_OR_RETURN(const at::Device device, FindDevice(name));
    FLOWAWR_RETURN_IF_ERROR(ChooseKernels(config.model().deterministic(), device, "model.deterministic"));
    FLOWAWR_RETURN_IF_ERROR(OnDevice("loading the transformer", device, [&]() -> absl::Status {
      FLOWAWR_ASSIGN_OR_RETURN(
          transformers.emplace_back(),
          Transformer::Load(config.model().path() + "/transformer", {ScalarTypeOf(config.model().dtype()), device},
                            [log = LogReading()](int64_t bytes, int64_t total) { log("transformer", bytes, total); }));
      return absl::OkStatus();
    }));
    if (!device.is_cpu()) spdlog::info("gradients are computed on {}", name);
  }
  return transformers;
}

std::unique_ptr<LocalGradientEngine> LocalEngine(const v1::RunConfig& config,
                                                 std::vector<std::shared_ptr<const Transformer>> transformers,
                                                 std::shared_ptr<const Algorithm> algorithm) {
  return std::make_unique<LocalGradientEngine>(
      std::move(transformers), std::move(algorithm),
      LocalGradientEngine::Options{.threads = config.train().threads(),
                                   .micro_batch = config.train().micro_batch(),
                                   .checkpointed_blocks = config.train().checkpointed_blocks(),
                                   .seed = config.seed()});
}

// What must be alike in all ranks.
RankFacts FactsOf(int rank, const v1::RunConfig& config, const ComponentFingerprints& parts,
                  const std::vector<std::shared_ptr<const Transformer>>& transformers) {
  RankFacts facts{.rank = rank,
                  .version = Version(),
                  .instruction_set = std::string(kernels::NameOf(kernels::ActiveInstructionSet())),
                  .config = GradientConfig(config),
                  .model = parts};
  for (const auto& transformer : transformers) facts.devices.push_back(NameOf(transformer->placement().device));
  if (config.train().ranks() > 1 && config.train().rank_transport() != v1::GLOO) {
    const NcclSight sight = LookForNccl(transformers[0]->placement().device);
    facts.nccl_device = sight.device;
    facts.no_nccl = sight.why_not;
  }
  return facts;
}

// Of this process: that it can be one of several ranks as it is configured.
absl::Status CheckCanJoin(const v1::RunConfig& config, const RankFacts& facts, const RankTokens& tokens) {
  if (config.train().rank_transport() == v1::NCCL && facts.nccl_device.empty())
    return absl::FailedPreconditionError(absl::StrCat("train.rank_transport: nccl: ", facts.no_nccl, "; set auto or gloo"));
  return tokens().status();
}

// Those that a client of that section would send one of.
RankTokens TokensOf(const v1::NetworkConfig& network) {
  return [file = TokenFileToSend(network)]() -> absl::StatusOr<std::vector<std::string>> {
    if (file.empty()) return std::vector<std::string>{""};
    return ReadTokens(file, "the token file of section network that ranks share");
  };
}

// The configuration as the command line has it.
absl::StatusOr<v1::RunConfig> ConfigOf(const LearnerOptions& options) {
  FLOWAWR_ASSIGN_OR_RETURN(v1::RunConfig config, LoadWholeConfig(options.config));
  if (options.world > 0 && options.world != config.train().ranks()) {
    config.mutable_train()->set_ranks(options.world);
    if (const auto violations = FindRuleViolations(config); !violations.empty())
      return absl::InvalidArgumentError(absl::StrCat(violations[0].path, ": ", violations[0].problem));
  }
  if (options.rank >= config.train().ranks())
    return UsageError(absl::StrCat("--rank ", options.rank, ": the run has ", config.train().ranks(),
                                   config.train().ranks() == 1 ? " rank" : " ranks",
                                   ", numbered from 0; --world or train.ranks says how many"));
  return config;
}

// An address without a port is at the port of network.ranks_listen.
absl::StatusOr<HostPort> WhereRank0Is(const LearnerOptions& options, const v1::RunConfig& config) {
  if (options.rank0.empty())
    return UsageError(absl::StrCat("rank ", options.rank, " needs to know where rank 0 waits for it: ",
                                   "--rank0 HOST:PORT, its network.ranks_listen"));
  absl::StatusOr<HostPort> whole = ParseHostPort(options.rank0);
  if (whole.ok() && whole->port > 0) return whole;
  const bool has_port = absl::StrContains(options.rank0, "]:") ||
                        std::count(options.rank0.begin(), options.rank0.end(), ':') == 1;
  if (has_port && !whole.ok()) return UsageError(absl::StrCat("--rank0: ", whole.status().message()));
  FLOWAWR_ASSIGN_OR_RETURN(const HostPort listen, ParseHostPort(config.network().ranks_listen()));
  if (listen.port == 0)
    return UsageError(absl::StrCat("--rank0 ", options.rank0, " has no port, and network.ranks_listen (",
                                   config.network().ranks_listen(), ") leaves it open: give one of them"));
  return HostPort{options.rank0, listen.port};
}

absl::StatusOr<std::shared_ptr<const Algorithm>> AlgorithmOf(const v1::RunConfig& config, const SchedulerConfig& scheduler) {
  return MakeAlgorithm(config, FlowMatchSigmas(config.sampler().steps(), scheduler.shift, scheduler.num_train_timesteps));
}

// A rank that is not the first.
absl::Status RunRank(const LearnerOptions& options, const v1::RunConfig& config,
                     const std::function<bool()>& wait_for_stop) {
  FLOWAWR_ASSIGN_OR_RETURN(const HostPort rank0, WhereRank0Is(options, config));
  FLOWAWR_RETURN_IF_ERROR(CheckModelFolder(config.model().path()));
  FLOWAWR_ASSIGN_OR_RETURN(const auto transformers, LoadTransformers(options, config));
  FLOWAWR_ASSIGN_OR_RETURN(const auto layout, LayoutOf(config.lora(), *transformers[0]));
  FLOWAWR_ASSIGN_OR_RETURN(const ComponentFingerprints parts,
                           FingerprintModel(config.model().path(), *transformers[0], ScalarTypeOf(config.model().dtype())));
  FLOWAWR_ASSIGN_OR_RETURN(const SchedulerConfig scheduler, SchedulerConfig::Load(config.model().path() + "/scheduler"));
  FLOWAWR_ASSIGN_OR_RETURN(const auto algorithm, AlgorithmOf(config, scheduler));
  const auto engine = LocalEngine(config, transformers, algorithm);
  FLOWAWR_ASSIGN_OR_RETURN(const GroupShape shape, ShapeOf(config.model(), scheduler));
  const RankFacts facts = FactsOf(options.rank, config, parts, transformers);
  const RankTokens tokens = TokensOf(config.network());
  FLOWAWR_RETURN_IF_ERROR(CheckCanJoin(config, facts, tokens));
  // Those of every process: what is to tell whether a rank is well has something to ask.
  FLOWAWR_ASSIGN_OR_RETURN(const auto metrics_server, StartMetrics(options.telemetry, "learner", config.network()));

  absl::Status status;
  std::atomic<bool> is_stopped = false;
  absl::Notification is_done;
  std::thread server([&] {
    status = ServeRank(*engine, layout,
                       {.rank0 = rank0,
                        .facts = facts,
                        .shape = shape,
                        .tokens = tokens,
                        .timeout = absl::Seconds(config.train().rank_timeout_s())},
                       [&] { return is_stopped.load(); });
    is_done.Notify();
  });
  while (!is_done.HasBeenNotified())
    if (wait_for_stop()) is_stopped = true;
  server.join();
  if (status.ok() && is_stopped && options.fails_when_stopped) return absl::CancelledError("stopped before the end of the run");
  return status;
}

}  // namespace

absl::Status RunLearner(const LearnerOptions& options, const std::function<bool()>& wait_for_stop) {
  at::set_num_threads(1);  // the gradient workers are the threads
  FLOWAWR_ASSIGN_OR_RETURN(const v1::RunConfig config, ConfigOf(options));
  if (options.rank > 0) return RunRank(options, config, wait_for_stop);
  FLOWAWR_RETURN_IF_ERROR(CheckActorsCanBeTold(config.model()));
  FLOWAWR_RETURN_IF_ERROR(CheckNothingOfOthers(options, config.run_dir()));
  FLOWAWR_ASSIGN_OR_RETURN(auto directory, RunDirectory::Open(config.run_dir(), options.lock_descriptor));
  const std::string& model = config.model().path();
  FLOWAWR_RETURN_IF_ERROR(CheckModelFolder(model));
  FLOWAWR_ASSIGN_OR_RETURN(const SchedulerConfig scheduler, SchedulerConfig::Load(model + "/scheduler"));
  FLOWAWR_ASSIGN_OR_RETURN(const GroupShape shape, ShapeOf(config.model(), scheduler));
  const at::ScalarType dtype = ScalarTypeOf(config.model().dtype());
  if (dtype == at::kBFloat16 && !SlowBfloat16().empty()) spdlog::warn("model.dtype: {}", SlowBfloat16());
  FLOWAWR_ASSIGN_OR_RETURN(const auto transformers, LoadTransformers(options, config));
  const auto& transformer = transformers[0];
  if (transformer->config().inner_dim() >= kWideModel) GiveBackFreedMemory();
  FLOWAWR_ASSIGN_OR_RETURN(const auto layout, LayoutOf(config.lora(), *transformer));
  FLOWAWR_ASSIGN_OR_RETURN(ComponentFingerprints parts, FingerprintModel(model, *transformer, dtype));
  FLOWAWR_ASSIGN_OR_RETURN(Standing standing, FindStanding(options, config, *transformer, parts, layout, *directory));
  // What an actor told of the model when the run began holds as long as the run.
  parts.insert(standing.manifest.model_parts().begin(), standing.manifest.model_parts().end());
  const RankFacts facts = FactsOf(/*rank=*/0, config, parts, transformers);
  RunModel run_model(std::move(parts));
  FLOWAWR_RETURN_IF_ERROR(CheckRewardEndpoints(options, standing.manifest.reward_spec()));
  FLOWAWR_ASSIGN_OR_RETURN(
      PromptSets prompts,
      ReadPromptSets(config,
                     {.default_reward_endpoint = options.reward_endpoint,
                      .accepts_changes = options.accepts_changed_prompts},
                     &standing.manifest));
  const std::string run_id = standing.manifest.run_id(), instance = RandomId();
  SetLogRun(run_id);
  FLOWAWR_ASSIGN_OR_RETURN(auto metrics_server,
                           StartMetrics(options.telemetry, "learner", config.network()));

  StatusBoard board;
  board.SetStandingWarnings("resume", standing.warnings);
  // Beside the newest version, those that a stale group may name.
  PolicyShelf policies({.next_version = standing.manifest.next_version(),
                        .keep = static_cast<size_t>(config.rollout().max_staleness()) + 2});
  LeaseDesk leases(LeaseOptions(options, config, shape, standing.manifest), &policies, &board);
  const LearnerMetrics metrics(*metrics_server, board, leases, config.rollout(), config.run_dir());
  LivePage page(config.run_dir(), [&board] { return board.status(); });
  const LivePageAt shown(metrics_server->http(), page);
  IdleWatch idle(kLongestSilence);
  FanOut fan_out(&policies, &metrics_server->registry());
  RolloutService rollout(
      {run_id, CleanText(config), standing.manifest.instruction_set(), HeartbeatOf(config)}, &run_model, &leases, &fan_out,
      &idle);
  const std::unique_ptr<CheckpointCopies> copies = CopiesOf(config, board);
  FLOWAWR_ASSIGN_OR_RETURN(std::shared_ptr<const Algorithm> algorithm, AlgorithmOf(config, scheduler));
  auto own = LocalEngine(config, transformers, algorithm);
  std::unique_ptr<GradientEngine> engine;
  RankedGradientEngine* ranked = nullptr;  // the run loop's
  std::string ranks_at;
  if (config.train().ranks() > 1) {
    FLOWAWR_ASSIGN_OR_RETURN(const HostPort listen, ParseHostPort(config.network().ranks_listen()));
    const RankTokens tokens = TokensOf(config.network());
    FLOWAWR_RETURN_IF_ERROR(CheckCanJoin(config, facts, tokens));
    FLOWAWR_ASSIGN_OR_RETURN(auto meeting_point, MeetingPoint::Serve(listen, tokens));
    ranks_at = meeting_point->address().ToString();
    auto of_all = std::make_unique<RankedGradientEngine>(
        std::move(own), std::move(meeting_point),
        RankedGradientEngine::Options{.facts = facts,
                                      .tokens = tokens,
                                      .transport = config.train().rank_transport(),
                                      .timeout = absl::Seconds(config.train().rank_timeout_s()),
                                      .waits_for_lost = config.train().on_lost_rank() == v1::WAIT,
                                      .registry = &metrics_server->registry()});
    ranked = of_all.get();
    engine = std::move(of_all);
    spdlog::info("waiting for the other {} of {} ranks on {}", config.train().ranks() - 1, config.train().ranks(),
                 ranks_at);
  } else {
    engine = std::move(own);
  }
  RunLoop loop({.config = config,
                .train_prompts = std::move(prompts.train),
                .heldout_prompts = std::move(prompts.heldout),
                .roles = std::move(standing.roles),
                .manifest = std::move(standing.manifest),
                .algorithm = std::move(algorithm),
                .engine = std::move(engine),
                .directory = directory.get(),
                .leases = &leases,
                .policies = &policies,
                .board = &board,
                .model = &run_model,
                .default_reward_endpoint = options.reward_endpoint,
                .shadows = std::move(standing.shadows),
                .watch = std::move(standing.watch),
                .device = DeviceKindOf(*transformer),
                .has_saved = [&copies] { if (copies) copies->Copy(); }});
  PolicyService policy_service(&policies, &leases, &fan_out, &idle);
  ControlService control(&board, &loop, &idle, [&loop] { loop.RequestStop(); });
  ServerOptions server_options;
  server_options.listen = options.serving.listen.empty() ? config.network().learner_listen() : options.serving.listen;
  server_options.network = config.network();
  server_options.max_threads = kMaxThreads;
  server_options.identities = {RunIdentity(run_id), InstanceIdentity(instance)};
  FLOWAWR_ASSIGN_OR_RETURN(auto server, RpcServer::Start(server_options, {&rollout, &policy_service, &control}));
  FLOWAWR_RETURN_IF_ERROR(TakeOver(*directory, config, run_id, standing.resumed_from));
  FLOWAWR_ASSIGN_OR_RETURN(const EndpointFile in_the_folder,
                           EndpointFile::Write(config.run_dir() + "/endpoints/learner", server->endpoint(), instance));
  FLOWAWR_ASSIGN_OR_RETURN(const EndpointFile where_asked,
                           EndpointFile::Write(options.serving.endpoint_file, server->endpoint(), instance));
  FLOWAWR_ASSIGN_OR_RETURN(const EndpointFile for_ranks,
                           EndpointFile::Write(ranks_at.empty() ? "" : config.run_dir() + "/endpoints/ranks", ranks_at, instance));
  if (ranked != nullptr) board.Show(*ranked);
  const absl::Cleanup hidden = [&] {
    if (ranked != nullptr) board.Hide(*ranked);
  };
  if (copies && standing.resumed_from) copies->Copy();
  const ScorerKeeper scorers({.rewards = config.rewards(),
                              .network = config.network(),
                              .default_reward_endpoint = options.reward_endpoint,
                              .file = config.run_dir() + "/known_scorers.jsonl",
                              .needed = [&board] { return board.status().reward_spec(); },
                              .warn = [&board](auto warnings) { board.SetStandingWarnings("scorers", std::move(warnings)); }},
                             metrics_server->registry());
  spdlog::info("serving on {}, metrics and the live page on {}://{}/", server->endpoint(),
               metrics_server->http().has_tls() ? "https" : "http", metrics_server->endpoint());

  absl::Status status;
  absl::Notification is_done;
  std::thread runner([&] {
    status = loop.Run();
    is_done.Notify();
  });
  while (!is_done.HasBeenNotified()) {
    if (!wait_for_stop()) continue;
    spdlog::info("stopping: writing a checkpoint");
    loop.RequestStop();
  }
  runner.join();
  if (!loop.is_finished() && options.fails_when_stopped)
    status.Update(absl::CancelledError("stopped before the end of the run; --resume goes on"));
  if (ranked != nullptr && loop.is_finished()) ranked->Finish();
  // The desk first: an actor whose watch of policies ends asks it whether the run is over.
  leases.Stop(loop.is_finished());
  policies.Stop();
  board.Stop();
  // An actor that is starting or reconnecting just now is back, or gone, by then; one that comes later finds nobody.
  if (loop.is_finished() && !leases.WaitForActorsToLeave(ActorBook::kGone))
    spdlog::warn("not every actor was told that the run has finished");
  server->Shutdown(absl::Seconds(2));
  return status;
}

}  // namespace flowawr
