#include "actor/actor.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <google/protobuf/util/message_differencer.h>
#include <pthread.h>
#include <spdlog/spdlog.h>

#include <thread>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "actor/recovery.h"
#include "common/base/allocator.h"
#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/process/processor.h"
#include "common/rpc/peer.h"
#include "common/rpc/retry.h"
#include "common/rpc/tls_check.h"
#include "common/scoring/scoring_client.h"
#include "common/sd3/component_fingerprints.h"
#include "common/sd3/compute_dtype.h"
#include "common/sd3/configured_layout.h"
#include "common/sd3/pipeline.h"
#include "common/sd3/prompt_embedder.h"
#include "common/telemetry/log.h"
#include "common/telemetry/read_progress.h"
#include "common/tensor/determinism.h"
#include "common/tensor/device_error.h"
#include "common/tensor/device_facts.h"
#include "common/tensor/device_graph.h"
#include "common/tensor/device_stream.h"
#include "common/tensor/devices.h"

namespace flowawr {
namespace {

constexpr absl::Duration kLongPoll = absl::Seconds(10);
constexpr int64_t kWideModel = 1024;  // whose activations are megabytes
constexpr absl::Duration kRoomCheck = absl::Milliseconds(500);  // how soon a stop is noticed while the pipeline is full
constexpr absl::Duration kUnreachablePause = absl::Seconds(10);  // in which others take the leases
// Attempts are bounded by time, not by number. Short, because a channel that cannot connect has pauses of its own.
constexpr RetryPolicy kReconnect = {
    .max_attempts = 1 << 30, .initial = absl::Milliseconds(100), .max = absl::Milliseconds(400)};
// Safetensors header and alignment, beside four bytes a parameter.
constexpr uint64_t kAdapterOverheadBytes = uint64_t{4} << 20;

// The model that the run names. With a cache of prompt embeddings its text encoders wait for a prompt that the cache
// does not hold.
struct Model {
  std::unique_ptr<Pipeline> pipeline;
  std::unique_ptr<PromptEmbedder> embedder;  // null without a cache: `pipeline` encodes

  absl::flat_hash_set<std::string> told_of;  // prompts of which the log says that they are too long

  absl::StatusOr<PromptEmbeds> Encode(const std::string& prompt) {
    if (embedder != nullptr) return embedder->Embed(prompt);
    const std::vector<std::string> cut = pipeline->text_encoders()->DescribeCut(prompt);
    if (!cut.empty() && told_of.insert(prompt).second) {
      for (const std::string& line : cut) spdlog::warn("{}", line);
    }
    return pipeline->EncodePrompts({prompt});
  }
};

absl::StatusOr<Model> LoadModel(const v1::ModelConfig& config, at::Device device) {
  const Pipeline::Options options{.placement = {ScalarTypeOf(config.dtype()), device},
                                  .max_sequence_length = config.max_sequence_length(),
                                  .progress = LogReading()};
  Model model;
  const auto load = [&]() -> absl::Status {
    if (const std::string& cache = config.embeds_cache(); !cache.empty()) {
      FLOWAWR_ASSIGN_OR_RETURN(model.embedder, PromptEmbedder::Create(config.path(), options, cache));
      FLOWAWR_ASSIGN_OR_RETURN(model.pipeline, Pipeline::LoadImageSide(config.path(), options));
    } else {
      FLOWAWR_ASSIGN_OR_RETURN(model.pipeline, Pipeline::Load(config.path(), options));
    }
    AwaitStream(device);  // the pipeline's stages have others
    return absl::OkStatus();
  };
  FLOWAWR_RETURN_IF_ERROR(OnDevice("loading the model", device, load,
                                   "Set model.dtype: bfloat16, fill model.embeds_cache by `flowawr encode` so that no text "
                                   "encoder is loaded, or have fewer processes share the device; `flowawr plan CONFIG` has the "
                                   "figures"));
  return model;
}

// What the samples of this actor are made with. Prompts are embedded by the encoders that made the cache, where there
// is one, whether or not their weights lie here.
absl::StatusOr<ComponentFingerprints> FingerprintsOf(const Model& model, const v1::ModelConfig& config) {
  FLOWAWR_ASSIGN_OR_RETURN(
      ComponentFingerprints parts,
      FingerprintModel(config.path(), model.pipeline->transformer(), ScalarTypeOf(config.dtype())));
  if (model.embedder != nullptr) parts.insert(model.embedder->parts().begin(), model.embedder->parts().end());
  return parts;
}

// What was set up for one configuration serves another if these agree.
absl::Status CheckSameSetup(const v1::RunConfig& loaded, const v1::RunConfig& now) {
  using google::protobuf::util::MessageDifferencer;
  if (MessageDifferencer::Equals(loaded.model(), now.model()) && MessageDifferencer::Equals(loaded.lora(), now.lora()))
    return absl::OkStatus();
  return absl::FailedPreconditionError(
      "the learner came back with another model or LoRA configuration; start this actor anew");
}

}  // namespace

Actor::Actor(const ActorOptions& options, std::unique_ptr<LearnerClient> learner, ActorMetrics& metrics,
             HeldPolicies* held)
    : options_(options),
      learner_(std::move(learner)),
      metrics_(metrics),
      held_(held),
      peers_(options.network),
      fetcher_(Sources(), held, &metrics),
      prefetch_{.evaluation_rows = options.evaluation_rows},
      leases_(prefetch_),
      rewards_(options.learner, options.network) {}

PolicyFetcher::Sources Actor::Sources() {
  return {.learner = [this](uint64_t version, uint64_t max_bytes,
                            const auto& failed) { return learner_->FetchPolicy(version, max_bytes, failed); },
          .find = [this](uint64_t version, uint64_t max_bytes,
                         const auto& failed) { return learner_->FindPolicy(version, max_bytes, failed); },
          .peer = [this](const std::string& endpoint, const v1::PolicyVersion& policy, absl::Time give_up) {
            return peers_.Fetch(endpoint, policy, learner_->fetch_key(), give_up);
          }};
}

void Actor::Stop() {
  absl::MutexLock lock(&stop_mutex_);
  if (IsStopping()) return;
  stopping_.Notify();
  fetcher_.Stop();
  learner_->CancelWaits();
  peers_.Cancel();
}

absl::Status Actor::Run() {
  at::set_num_threads(options_.threads);
  FLOWAWR_ASSIGN_OR_RETURN(device_, FindDevice(options_.device));
  spdlog::info("samples on {}", DescribeDevice(device_));
  const auto registered = Register(ComponentFingerprints());
  if (IsStopping()) return absl::OkStatus();
  FLOWAWR_RETURN_IF_ERROR(registered.status());
  session_.Begin();
  std::thread heartbeat([this, interval = absl::Seconds(registered->heartbeat_s())] { Heartbeat(interval); });
  absl::Status ended = Work(*registered);
  Stop();
  heartbeat.join();
  {
    absl::MutexLock lock(&stop_mutex_);
    ended.Update(device_error_);
  }
  if (session_.is_live()) {
    if (const absl::Status told = learner_->Leave(); !told.ok()) spdlog::debug("leaving: {}", told.ToString());
  }
  return ended;
}

absl::Status Actor::Work(const v1::RegisterResponse& registered) {
  const v1::RunConfig& config = registered.config();
  SetLogRun(registered.run_id());
  spdlog::info("run {} ({}); loading {}", config.name(), registered.run_id(), config.model().path());
  if (ScalarTypeOf(config.model().dtype()) == at::kBFloat16 && !SlowBfloat16().empty())
    spdlog::warn("model.dtype: {}", SlowBfloat16());
  FLOWAWR_RETURN_IF_ERROR(ChooseKernels(config.model().deterministic(), device_, "model.deterministic"));
  FLOWAWR_ASSIGN_OR_RETURN(Model loaded, LoadModel(config.model(), device_));
  const Pipeline* const model = loaded.pipeline.get();
  FLOWAWR_ASSIGN_OR_RETURN(const LatentShape shape,
                           LatentShapeFor(model->transformer().config(), model->vae().downscale(),
                                          config.model().height(), config.model().width()));
  if (model->transformer().config().inner_dim() >= kWideModel) GiveBackFreedMemory();
  FLOWAWR_ASSIGN_OR_RETURN(const std::shared_ptr<const LoraLayout> layout,
                           LayoutOf(config.lora(), model->transformer()));
  FLOWAWR_ASSIGN_OR_RETURN(const ComponentFingerprints parts, FingerprintsOf(loaded, config.model()));
  const auto registered_with_model = Register(parts);
  if (IsStopping()) return absl::OkStatus();
  FLOWAWR_RETURN_IF_ERROR(registered_with_model.status());
  // The learner may have been started anew while the model was loaded.
  FLOWAWR_RETURN_IF_ERROR(CheckSameSetup(config, registered_with_model->config()));
  session_.Begin();
  metrics_.CountSession();
  spdlog::info("registered as {}", options_.id);

  const uint64_t max_adapter_bytes = 4 * static_cast<uint64_t>(layout->size()) + kAdapterOverheadBytes;
  PolicyBuffer policies(
      model->transformer(), layout,
      [this, max_adapter_bytes](uint64_t version) { return fetcher_.Fetch(version, max_adapter_bytes); },
      [this](const v1::PolicyVersion& policy, int64_t modules) { return learner_->ReportAdoption(policy, modules); });
  ScoringClient scorer(options_.network);
  ShowScoring(&scorer);
  const absl::Cleanup show_no_longer = [this] { ShowScoring(nullptr); };
  RolloutPipeline pipeline(
      {.model = *model,
       .shape = shape,
       .learner = *learner_,
       .policies = policies,
       .scorer = scorer,
       .leases = leases_,
       .stages = stages_,
       .metrics = metrics_,
       .on_device_error = [this](const absl::Status& error) { StopForDevice(error); },
       .encode = [&loaded](const std::string& prompt) { return loaded.Encode(prompt); }},
      {.threads = options_.threads,
       .score_workers = options_.score_workers,
       .graph_batch = config.sampler().graph_batch(),
       .prefetch = prefetch_});
  std::thread watch([this, &policies] { Watch(policies); });
  const absl::Status ended = Lease(pipeline, policies, parts, config);
  Stop();
  pipeline.Stop();
  watch.join();
  return ended;
}

absl::StatusOr<v1::RegisterResponse> Actor::Register(const ComponentFingerprints& model) {
  const absl::Time give_up_at = MonotonicNow() + options_.give_up_after;
  Backoff backoff(kReconnect);
  for (int attempt = 1;; ++attempt) {
    absl::StatusOr<v1::RegisterResponse> response = learner_->Register(model, DescribeDevice(device_));
    if (!response.ok()) response = ExplainFailure(response.status(), options_.learner, options_.network);
    switch (AfterRegister(response.status())) {
      case RegisterAction::kProceed:
        if (held_ != nullptr) held_->SetFetchKey(learner_->fetch_key());
        if (response->run_finished()) StopAsFinished();
        return response;
      case RegisterAction::kGiveUp:
        if (IsAnotherPeer(response.status()))
          return absl::FailedPreconditionError(
              absl::StrCat("at ", options_.learner, " there is the learner of another run now, which gets nothing of ",
                           "the one that this actor works for; start the actor anew to join it"));
        return Annotate(response.status(), absl::StrCat("the learner at ", options_.learner, " refused this actor"));
      case RegisterAction::kRetry:
        break;
    }
    if (IsStopping()) return absl::CancelledError("stopped");
    if (MonotonicNow() >= give_up_at)
      return absl::UnavailableError(absl::StrCat("no learner at ", options_.learner, " for ",
                                                 absl::FormatDuration(options_.give_up_after),
                                                 "; last answer: ", response.status().message()));
    if (attempt == 1) spdlog::info("waiting for the learner at {}: {}", options_.learner, response.status().ToString());
    stopping_.WaitForNotificationWithTimeout(backoff.Next().value_or(kReconnect.max));
  }
}

absl::Status Actor::RegisterAgain(PolicyBuffer& policies, const ComponentFingerprints& model,
                                  const v1::RunConfig& config) {
  leases_.Clear();
  fetcher_.ForgetAnnounced();
  policies.Clear();
  FLOWAWR_ASSIGN_OR_RETURN(const v1::RegisterResponse response, Register(model));
  FLOWAWR_RETURN_IF_ERROR(CheckSameSetup(config, response.config()));
  session_.Begin();
  metrics_.CountSession();
  spdlog::info("registered again");
  return absl::OkStatus();
}

absl::Status Actor::Lease(RolloutPipeline& pipeline, PolicyBuffer& policies, const ComponentFingerprints& model,
                          const v1::RunConfig& config) {
  while (!IsStopping()) {
    if (!session_.is_live()) {
      const absl::Status again = RegisterAgain(policies, model, config);
      if (IsStopping()) break;
      FLOWAWR_RETURN_IF_ERROR(again);
    }
    if (!leases_.WaitForRoom(kRoomCheck)) continue;
    absl::StatusOr<v1::AcquireLeaseResponse> answer = learner_->AcquireLease(kLongPoll);
    if (IsStopping()) {
      // A lease that arrived together with the stop is handed back at once by Accept().
      if (answer.ok() && answer->has_lease()) pipeline.Accept(std::move(*answer->mutable_lease()));
      break;
    }
    switch (AfterAcquire(answer.status())) {
      case LeaseAction::kProceed:
        if (answer->has_lease()) AcceptOrHandBack(pipeline, std::move(*answer->mutable_lease()));
        if (answer->run_finished()) StopAsFinished();
        break;
      case LeaseAction::kAskAgain:
        break;
      case LeaseAction::kReregister:
        spdlog::warn("lost the learner: {}", answer.status().ToString());
        session_.Lose(session_.number());
        break;
      case LeaseAction::kGiveUp:
        return answer.status();
    }
  }
  return absl::OkStatus();
}

void Actor::AcceptOrHandBack(RolloutPipeline& pipeline, v1::Lease lease) {
  const absl::Status reach = rewards_.Resolve(*lease.mutable_reward_spec());
  if (reach.ok()) return pipeline.Accept(std::move(lease));
  spdlog::error("a lease goes back: {}", std::string(reach.message()));
  v1::LeaseRef ref;
  ref.set_group_id(lease.group_id());
  ref.set_attempt(lease.attempt());
  const absl::Status handed_back =
      learner_->FailLease(ref, "reward_unreachable", std::string(reach.message()), /*is_handed_back=*/true);
  if (!handed_back.ok()) spdlog::debug("handing back: {}", handed_back.ToString());
  stopping_.WaitForNotificationWithTimeout(kUnreachablePause);
}

void Actor::Heartbeat(absl::Duration interval) {
  pthread_setname_np(pthread_self(), "heartbeat");
  while (!stopping_.WaitForNotificationWithTimeout(interval)) {
    const auto seconds = stages_.Seconds();
    metrics_.SetStageSeconds(seconds);
    metrics_.SetHeldLeases(leases_.size());
    ShowScoring();
    if (!session_.is_live()) continue;
    const uint64_t session = session_.number();
    const auto answer = learner_->RenewLeases(leases_.Refs(), seconds);
    if (!answer.ok()) {
      spdlog::debug("heartbeat: {}", answer.status().ToString());
      if (IsForgotten(answer.status())) session_.Lose(session);
      continue;  // Lease() and Watch() notice when the learner is gone
    }
    if (const int dropped = leases_.Drop({answer->dropped().begin(), answer->dropped().end()}); dropped > 0)
      spdlog::info("the learner dropped {} leases", dropped);
    if (answer->run_finished()) StopAsFinished();
  }
}

void Actor::ShowScoring() {
  absl::MutexLock lock(&scorer_mutex_);
  if (scorer_ != nullptr) metrics_.SetScoring(scorer_->endpoints(), scorer_->retries());
}

void Actor::ShowScoring(const ScoringClient* scorer) {
  absl::MutexLock lock(&scorer_mutex_);
  scorer_ = scorer;
}

void Actor::StopAsFinished() {
  if (!IsStopping()) spdlog::info("the run has finished");
  Stop();
}

void Actor::StopForDevice(const absl::Status& error) {
  {
    absl::MutexLock lock(&stop_mutex_);
    device_error_.Update(error);
  }
  Stop();
}

void Actor::Watch(PolicyBuffer& policies) {
  pthread_setname_np(pthread_self(), "watch");
  at::set_num_threads(options_.threads);
  const c10::InferenceMode guard;
  const OwnStream stream(device_);
  while (!IsStopping()) {
    if (!session_.AwaitLive(kRoomCheck)) continue;
    const uint64_t session = session_.number();
    const absl::Status ended = learner_->WatchPolicy([&](const v1::PolicyVersion& version) {
      metrics_.SetAnnouncedVersion(version.version());
      fetcher_.Announced(version);
      const auto adopt = [&] {
        const auto policy = policies.Get(version.version());
        if (policy.ok())
          spdlog::info("adopted policy version {}, sha256 {}, {} modules", version.version(),
                       absl::BytesToHexString(version.sha256()).substr(0, 12), (*policy)->adapter.modules());
        return policy.status();
      };
      const absl::Status adopted =
          AgainAfterRecording([&] { return OnDevice("merging an adapter into the model", device_, adopt); });
      if (!adopted.ok()) spdlog::warn("not adopted: {}", adopted.ToString());
      if (IsDeviceError(adopted)) StopForDevice(adopted);
      metrics_.SetAdoptedVersion(policies.newest_version());
    });
    if (IsStopping() || absl::IsDeadlineExceeded(ended)) continue;
    if (!ended.ok()) session_.Lose(session);
    // The server closed the stream in good order, or Lease() is about to register again.
    stopping_.WaitForNotificationWithTimeout(kRoomCheck);
  }
}

}  // namespace flowawr
