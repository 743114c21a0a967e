#include "cli/doctor/examination.h"

#include <ATen/Version.h>
#include <dlfcn.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <torch/version.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "cli/doctor/devices.h"
#include "cli/machine_memory.h"
#include "cli/memory_plan.h"
#include "cli/pass_times.h"
#include "cli/prompt_findings.h"
#include "cli/reward_access.h"
#include "cli/run_folder.h"
#include "cli/run_inputs.h"
#include "cli/thread_budget.h"
#include "cli/time_plan.h"
#include "common/base/checkpoint_names.h"
#include "common/base/folder_lock.h"
#include "common/base/host_port.h"
#include "common/base/status.h"
#include "common/base/usable_cores.h"
#include "common/base/version.h"
#include "common/config/copy_place.h"
#include "common/config/prompts.h"
#include "common/config/run_config.h"
#include "common/nn/bf16.h"
#include "common/process/processor.h"
#include "common/rpc/server.h"
#include "common/rpc/tls_check.h"
#include "common/rpc/tls_files.h"
#include "common/rpc/token.h"
#include "common/scoring/prompt_check.h"
#include "common/scoring/reward_terms.h"
#include "common/scoring/scorer_probe.h"
#include "common/sd3/latent_shape.h"
#include "common/sd3/model_size.h"
#include "common/sd3/pipeline_check.h"
#include "common/tensor/learner_devices.h"
#include "common/tensor/open_nccl.h"

namespace flowawr {
namespace {

namespace fs = std::filesystem;
using Level = FindingLevel;

constexpr int64_t kFloat = 4;
constexpr int kVectorsOfACheckpoint = 5;  // three policies, two moments
constexpr int kVectorsOfAnExport = 2;     // for peft and for diffusers

// The folder itself, or the nearest above it that is there.
fs::path NearestThere(const std::string& folder) {
  std::error_code error;
  fs::path path = fs::absolute(folder, error);
  while (!fs::exists(path, error) && path.has_parent_path() && path != path.parent_path()) path = path.parent_path();
  return path;
}

class Examination {
 public:
  Examination(const ExaminationRequest& request, absl::FunctionRef<bool()> is_wanted,
              absl::FunctionRef<void(const std::string&)> say, absl::FunctionRef<void(Finding)> tell)
      : request_(request), is_wanted_(is_wanted), say_(say), tell_(tell) {}

  void Run() {
    LookAtMachine();
    if (request_.run.config.empty() || !ReadConfig()) return;
    LookAtRunDevices();
    const bool has_model = LookAtModel();
    const bool has_prompts = LookAtPrompts(has_model);
    if (has_model) LookAtMemory();
    LookAtFolder(has_model);
    const bool has_network = LookAtNetwork();
    if (has_model && has_prompts && has_network) LookAtRewards();
    if (has_model && request_.measures_time && is_wanted_()) LookAtTime();
  }

 private:
  void Tell(Level level, const std::string& subject, const std::string& what) { tell_({level, subject, what}); }
  void Tell(const std::string& subject, const absl::Status& status, const std::string& ok,
            Level otherwise = Level::kBad) {
    tell_(FindingOf(subject, status, ok, otherwise));
  }

  void LookAtMachine() {
    Tell(Level::kOk, "program", absl::StrCat("flowawr ", Version(), " in ", request_.run.binaries));
    std::vector<std::string> missing;
    for (const char* program : {"flowawr-learner", "flowawr-actor", "flowawr-reward-server"})
      if (access(absl::StrCat(request_.run.binaries, "/", program).c_str(), X_OK) != 0) missing.push_back(program);
    if (!missing.empty())
      Tell(Level::kBad, "program",
           absl::StrCat(request_.run.binaries, " lacks ", absl::StrJoin(missing, ", "), "; build or install them"));
    Dl_info library{};
    const bool is_found = dladdr(reinterpret_cast<void*>(&at::get_cpu_capability), &library) != 0;
    Tell(Level::kOk, "LibTorch",
         absl::StrCat(TORCH_VERSION, ", CPU capability ", at::get_cpu_capability(),
                      is_found && library.dli_fname != nullptr ? absl::StrCat(", ", library.dli_fname) : ""));
    Tell(Level::kOk, "processor", DescribeProcessor());
    sight_ = LookAtDevices();
    for (Finding& finding : JudgeDevices(sight_)) tell_(std::move(finding));
  }

  bool ReadConfig() {
    absl::StatusOr<v1::RunConfig> config = LoadRunConfig(request_.run.config, request_.run.overrides);
    Tell("config", config.status(), request_.run.config);
    if (!config.ok()) return false;
    config_ = *std::move(config);
    if (!request_.run.run_dir.empty()) config_.set_run_dir(request_.run.run_dir);
    return true;
  }

  void LookAtRunDevices() {
    const absl::StatusOr<RunDevices> devices = FindRunDevices(config_);
    Tell("devices", devices.status(), devices.ok() ? RunDevicesText(*devices) : "");
    devices_ = devices.value_or(RunDevices());
    budget_ = BudgetThreads(request_.run.cores, config_, devices_.accelerators);
    if (!devices.ok()) return;
    const std::string shared = WarningOfSharedDevices(devices_.learner, config_.train().ranks());
    if (!shared.empty()) Tell(Level::kWarn, "ranks", shared);
  }

  bool LookAtModel() {
    const std::string& folder = config_.model().path();
    const bool has_text_encoders = config_.model().embeds_cache().empty();
    absl::Status status = CheckModelInput(config_);
    if (status.ok()) status = CheckPipelineFiles(folder, has_text_encoders);
    if (status.ok()) status = FillInModelDefaults(config_.mutable_model());
    if (status.ok()) {
      absl::StatusOr<ModelSizes> sizes = ReadModelSizes(folder, has_text_encoders);
      status = sizes.status();
      if (sizes.ok()) sizes_ = *std::move(sizes);
    }
    Tell("model", status, absl::StrCat(folder, " is whole; ", config_.model().height(), " x ", config_.model().width(),
                                       " pixels"));
    if (status.ok() && config_.model().dtype() == v1::BFLOAT16 && !SlowBfloat16().empty())
      Tell(Level::kWarn, "model", absl::StrCat("model.dtype: ", SlowBfloat16()));
    return status.ok();
  }

  bool ReadPrompts(const std::string& field, const std::string& file, std::optional<PromptSet>& prompts) {
    std::vector<PromptFault> faults;
    absl::StatusOr<PromptSet> read = PromptSet::Load(file, &faults);
    if (!read.ok()) {
      Tell("prompts", Annotate(read.status(), field), "");
      return false;
    }
    if (!faults.empty()) {
      Tell(Level::kBad, "prompts",
           absl::StrCat(faults.size(), " lines of ", file, " hold no prompt, e.g. ", faults[0].where, ": ",
                        faults[0].message, "; `flowawr prompts check` lists them all"));
      return false;
    }
    Tell(Level::kOk, "prompts", absl::StrCat(read->size(), " in ", file));
    prompts = *std::move(read);
    return true;
  }

  bool LookAtPrompts(bool has_model) {
    bool is_good = ReadPrompts("prompts.train", config_.prompts().train(), train_);
    if (!config_.prompts().heldout().empty())
      is_good = ReadPrompts("prompts.heldout", config_.prompts().heldout(), heldout_) && is_good;
    std::vector<NamedPrompts> files;
    if (train_) files.push_back({config_.prompts().train(), &*train_});
    if (heldout_) files.push_back({config_.prompts().heldout(), &*heldout_});
    for (const std::string& sentence : DescribeRepeatedPrompts(files)) Tell(Level::kWarn, "prompts", sentence);
    if (!has_model || !config_.model().embeds_cache().empty()) return is_good;
    const absl::StatusOr<CutPrompts> cut =
        FindCutPrompts(config_.model().path(), config_.model().max_sequence_length(), files, 1);
    if (!cut.ok())
      Tell("prompts", cut.status(), "");
    else if (cut->count > 0)
      Tell(Level::kWarn, "prompts",
           absl::StrCat(cut->count, " are longer than the text encoders read, e.g. ", cut->sentences[0]));
    return is_good;
  }

  void LookAtMemory() {
    const bool has_kernels = kernels::HasBf16Instructions();
    const absl::StatusOr<MemoryPlan> plan = PlanMemory(config_, sizes_, budget_, has_kernels);
    if (!plan.ok()) return Tell("memory", plan.status(), "");
    const int64_t memory = MachineMemory();
    std::string advice = "fewer actors (local.actors), a smaller picture, or the actors on another machine";
    const auto choice = ChooseWhatFits(config_, sizes_, budget_, has_kernels, budget_.actors, memory);
    if (choice.ok() && choice->has_value())
      advice = absl::StrCat("fits with train.checkpointed_blocks=", (*choice)->checkpointed_blocks,
                            ", train.micro_batch=", (*choice)->micro_batch, ", train.threads=", (*choice)->threads,
                            "; see flowawr plan");
    tell_(JudgeMemory(plan->Host(budget_.actors, devices_.learner_has_accelerator, devices_.accelerators > 0), memory, advice));
  }

  void LookAtTime() {
    say_("measuring how long passes through the model take");
    const absl::StatusOr<PassTimes> times = MeasurePassTimes(config_, sizes_, budget_);
    say_("");
    if (!times.ok()) return Tell("time", times.status(), "");
    const int64_t heldout = heldout_ ? static_cast<int64_t>(heldout_->size()) : 0;
    const TimePlan plan = PlanTime(config_, budget_, heldout, request_.run.cores, *times);
    tell_(JudgeTime(plan.total(), plan.updates));
  }

  void LookAtFolder(bool has_model) {
    const std::string& folder = config_.run_dir();
    const absl::StatusOr<bool> continues = CheckRunFolder(folder, request_.run.resume);
    std::error_code ignored;
    absl::Status status = continues.status();
    if (status.ok() && fs::exists(folder + "/lock", ignored)) status = FolderLock::Take(folder).status();
    const fs::path there = NearestThere(folder);
    if (status.ok() && access(there.c_str(), W_OK | X_OK) != 0)
      status = absl::PermissionDeniedError(absl::StrCat(there.string(), " cannot be written by this user; choose ",
                                                        "another folder with --run-dir"));
    Tell("run folder", status,
         absl::StrCat(folder, continues.value_or(false) ? " holds a run that can go on" : " is free"));
    if (continues.value_or(false)) {
      const absl::StatusOr<CheckpointFolder> newest = NewestCheckpoint(folder);
      Tell("checkpoint", newest.status(), newest.ok() ? absl::StrCat(newest->path, " is whole") : "");
    } else if (!config_.lora().init_from().empty()) {
      Tell("adapter", CheckInitialAdapter(config_.lora()),
           absl::StrCat("lora.init_from: ", config_.lora().init_from()));
    }
    if (has_model) LookAtDisk(folder);
    const v1::CheckpointConfig& checkpoint = config_.checkpoint();
    if (!checkpoint.copy_to().empty()) {
      const fs::path copies = NearestThere(checkpoint.copy_to());
      if (!fs::is_directory(copies, ignored) || access(copies.c_str(), W_OK | X_OK) != 0)
        Tell(Level::kBad, "disk",
             absl::StrCat("checkpoint.copy_to: ", copies.string(), " is no folder that this user can write to"));
      else if (const absl::Status place = CheckCopyPlace(folder, checkpoint.copy_to()); !place.ok())
        Tell("disk", place, "");
      else if (has_model)
        LookAtDisk(checkpoint.copy_to());
    }
  }

  void LookAtDisk(const std::string& folder) {
    const std::string there = NearestThere(folder).string();
    struct statvfs disk {};
    if (statvfs(there.c_str(), &disk) != 0)
      return Tell(Level::kWarn, "disk", absl::StrCat("what is free in ", there, " could not be found out"));
    const v1::LoraConfig& lora = config_.lora();
    const AdapterSize adapter = SizeOfAdapter(
        sizes_.transformer, {lora.rank(), {lora.target_modules().begin(), lora.target_modules().end()}});
    const v1::CheckpointConfig& checkpoint = config_.checkpoint();
    const int64_t vectors =
        int64_t{kVectorsOfACheckpoint} * (checkpoint.keep() + checkpoint.keep_best() + 1) + kVectorsOfAnExport;
    tell_(JudgeDisk(folder, vectors * adapter.values * kFloat, static_cast<int64_t>(disk.f_bavail) * disk.f_frsize));
  }

  // Whether calls can be made at all.
  bool LookAtNetwork() {
    const v1::NetworkConfig& network = config_.network();
    bool is_good = true;
    if (!network.tls_cert().empty()) {
      const absl::Status identity = ReadTlsIdentity(network).status();
      const absl::StatusOr<absl::Time> expiry = CertificateExpiry(network);
      is_good = identity.ok();
      if (!identity.ok()) Tell("certificate", identity, "");
      if (identity.ok() && expiry.ok()) tell_(JudgeExpiry(network.tls_cert(), *expiry - absl::Now()));
    }
    if (!network.tls_ca().empty()) {
      const absl::Status authorities = ReadTlsAuthorities(network).status();
      is_good = is_good && authorities.ok();
      Tell("certificate", authorities, absl::StrCat("clients trust ", network.tls_ca()));
    }
    for (const auto& [field, file] : {std::pair("network.token_file", network.token_file()),
                                      std::pair("network.actor_token_file", network.actor_token_file()),
                                      std::pair("network.reward_token_file", network.reward_token_file()),
                                      std::pair("network.operator_token_file", network.operator_token_file()),
                                      std::pair("network.read_only_token_file", network.read_only_token_file())}) {
      if (file.empty()) continue;
      const absl::Status token = ReadTokens(file, field).status();
      is_good = is_good && token.ok();
      Tell("token", token, absl::StrCat(field, " can be read"));
      TellWhoMayRead(field, file);
    }
    if (!network.tls_key().empty()) TellWhoMayRead("network.tls_key", network.tls_key());
    if (is_good) LookAtPorts();
    if (is_good && !network.tls_cert().empty()) LookAtHandshake();
    return is_good;
  }

  void TellWhoMayRead(const std::string& field, const std::string& file) {
    struct stat found {};
    if (stat(file.c_str(), &found) != 0 || (found.st_mode & (S_IRWXG | S_IRWXO)) == 0) return;
    Tell(Level::kWarn, "token", absl::StrCat(field, ": others on this machine may read ", file, "; chmod 600 it"));
  }

  void LookAtPorts() {
    const v1::NetworkConfig& network = config_.network();
    const bool has_rewards = std::any_of(config_.rewards().terms().begin(), config_.rewards().terms().end(),
                                         [](const v1::RewardTerm& term) { return term.endpoint().empty(); });
    std::vector<std::pair<std::string, std::string>> places = {{"network.learner_listen", network.learner_listen()}};
    if (has_rewards) places.emplace_back("network.reward_listen", network.reward_listen());
    for (const auto& [field, listen] : places)
      Tell("port", Annotate(RpcServer::Start({.listen = listen, .network = network}, {}).status(), field),
           absl::StrCat(field, ": ", listen, " is free"));
    if (has_rewards && WantOnePort(network.learner_listen(), network.reward_listen()))
      Tell(Level::kBad, "port",
           absl::StrCat("network.reward_listen: ", network.reward_listen(), " is the learner's port, too ",
                        "(network.learner_listen ", network.learner_listen(), "); choose another, or 0 for any that is free"));
    v1::NetworkConfig open;  // page and ranks have rules of their own; here it is asked whether the host is this machine's
    open.set_insecure(true);
    open.set_max_message_mib(1);
    if (config_.train().ranks() > 1) LookAtRanksPort(open, has_rewards);
    const std::string page = HostPort{network.metrics_host(), 0}.ToString();
    const absl::Status metrics = RpcServer::Start({.listen = page, .network = open}, {}).status();
    if (!metrics.ok()) Tell("port", Annotate(metrics, "network.metrics_host"), "");
    const bool wants_token = !network.token_file().empty() || !network.operator_token_file().empty() ||
                             !network.read_only_token_file().empty();
    if (metrics.ok() && !HostPort{network.metrics_host(), 0}.is_loopback() && !wants_token)
      Tell(Level::kWarn, "token",
           absl::StrCat("network.metrics_host: whoever reaches ", network.metrics_host(), " sees the run's status, prompts ",
                        "and pictures; set network.read_only_token_file"));
  }

  void LookAtRanksPort(const v1::NetworkConfig& open, bool has_rewards) {
    const v1::NetworkConfig& network = config_.network();
    const std::string& listen = network.ranks_listen();
    Tell("port", Annotate(RpcServer::Start({.listen = listen, .network = open}, {}).status(), "network.ranks_listen"),
         absl::StrCat("network.ranks_listen: ", listen, " is free"));
    std::vector<std::pair<std::string, std::string>> others = {{"network.learner_listen", network.learner_listen()}};
    if (has_rewards) others.emplace_back("network.reward_listen", network.reward_listen());
    for (const auto& [field, other] : others)
      if (WantOnePort(listen, other))
        Tell(Level::kBad, "port",
             absl::StrCat("network.ranks_listen: ", listen, " is the port of ", field, " ", other,
                          ", too; choose another, or 0 for any that is free"));
    if (config_.train().rank_transport() == v1::NCCL) LookAtNccl();
  }

  // What a rank opens for it.
  void LookAtNccl() {
    const absl::Status library = OpenNcclLibrary().status();
    if (!library.ok() || sight_.nccl.empty())
      Tell(Level::kBad, "ranks",
           absl::StrCat("train.rank_transport: nccl: ", library.ok() ? "there is no libnccl.so.2" : library.message(),
                        "; set auto or gloo"));
  }

  // As the actors of this machine reach the learner, and as others do by its advertised name.
  void LookAtHandshake() {
    const absl::StatusOr<std::unique_ptr<RpcServer>> server =
        RpcServer::Start({.listen = "127.0.0.1:0", .network = config_.network()}, {});
    if (!server.ok()) return;
    Tell("certificate", CheckTls((*server)->endpoint(), config_.network()),
         "the processes of this machine would trust each other");
  }

  void LookAtRewards() {
    ProbePicture picture{.height = config_.model().height(), .width = config_.model().width()};
    if (!train_->empty()) picture.prompt = train_->At(0);
    v1::RewardSpec scorable;  // that answered
    for (const v1::RewardTerm& configured : config_.rewards().terms()) {
      if (configured.endpoint().empty() || !is_wanted_()) continue;
      say_(absl::StrCat("asking ", configured.endpoint(), " for a reward of ", configured.scorer()));
      v1::RewardSpec one;
      *one.add_terms() = SpecTermOf(configured);
      const absl::Status probe = ProbeScorers(one, config_.network(), picture);
      say_("");
      const bool is_needed = IsRequired(one.terms(0)) && !absl::IsNotFound(probe);
      std::string ok = absl::StrCat(configured.scorer(), " at ", configured.endpoint(), " gives rewards");
      if (absl::IsNotFound(probe))
        Tell(Level::kWarn, "reward", absl::StrCat(probe.message(), ". A run tries to load it there when it begins"));
      else
        Tell("reward", probe, ok, is_needed ? Level::kBad : Level::kWarn);
      if (probe.ok() || absl::IsInvalidArgument(probe)) *scorable.add_terms() = one.terms(0);
    }
    CheckAllScorable(scorable, config_.network());
    if (request_.starts_scorers && is_wanted_()) LookAtOwnRewards(picture);
  }

  // The run's own reward server, for a while.
  void LookAtOwnRewards(const ProbePicture& picture) {
    absl::StatusOr<RewardPlan> plan = PlanRewards({.what = request_.run.config,
                                                   .overrides = request_.run.overrides,
                                                   .threads = budget_.reward_threads});
    if (!plan.ok()) return Tell("reward", plan.status(), "");
    if (plan->scorers.empty()) return;
    const v1::RewardSpec all = std::exchange(plan->spec, {});
    for (const v1::RewardSpecTerm& term : all.terms())
      if (term.endpoint().empty()) *plan->spec.add_terms() = term;
    absl::StatusOr<std::unique_ptr<RewardAccess>> access = RewardAccess::Open(*plan, is_wanted_, say_);
    say_("");
    if (!access.ok()) return Tell("reward", access.status(), "");
    v1::RewardSpec scorable;
    for (const v1::RewardSpecTerm& term : (*access)->spec().terms()) {
      v1::RewardSpec one;
      *one.add_terms() = term;
      say_(absl::StrCat("asking for a reward of ", term.scorer()));
      const absl::Status probe = ProbeScorers(one, (*access)->network(), picture);
      say_("");
      Tell("reward", probe, absl::StrCat(term.scorer(), " loads and gives rewards"),
           IsRequired(term) ? Level::kBad : Level::kWarn);
      if (probe.ok() || absl::IsInvalidArgument(probe)) *scorable.add_terms() = term;
    }
    CheckAllScorable(scorable, (*access)->network());
  }

  void CheckAllScorable(const v1::RewardSpec& spec, const v1::NetworkConfig& network) {
    if (spec.terms().empty() || !is_wanted_()) return;
    CheckScorable(spec, network, config_.prompts().train(), *train_);
    if (heldout_) CheckScorable(spec, network, config_.prompts().heldout(), *heldout_);
  }

  void CheckScorable(const v1::RewardSpec& spec, const v1::NetworkConfig& network, const std::string& file,
                     const PromptSet& prompts) {
    const PromptCheck check = CheckPrompts(spec, network, prompts);
    for (const std::string& note : check.notes) Tell(Level::kWarn, "prompts", note);
    const std::string example =
        check.faults.empty()
            ? ""
            : absl::StrCat(prompts.Where(check.faults.begin()->first), ": ", check.faults.begin()->second);
    if (check.faults.empty() && !check.notes.empty()) return;
    tell_(JudgeScorable(file, check.faults.size(), prompts.size(), example, config_.prompts().skip_bad()));
  }

  const ExaminationRequest& request_;
  const absl::FunctionRef<bool()> is_wanted_;
  const absl::FunctionRef<void(const std::string&)> say_;
  const absl::FunctionRef<void(Finding)> tell_;
  DeviceSight sight_;
  v1::RunConfig config_;
  ModelSizes sizes_;
  ThreadBudget budget_;
  RunDevices devices_;
  std::optional<PromptSet> train_, heldout_;
};

}  // namespace

void Examine(const ExaminationRequest& request, absl::FunctionRef<bool()> is_wanted,
             absl::FunctionRef<void(const std::string&)> say, absl::FunctionRef<void(Finding)> tell) {
  Examination(request, is_wanted, say, tell).Run();
}

}  // namespace flowawr
