#include "actor/rollout_pipeline.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <pthread.h>
#include <spdlog/spdlog.h>

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "actor/group_message.h"
#include "actor/group_sampler.h"
#include "actor/prompt_encoder.h"
#include "actor/recovery.h"
#include "common/base/status.h"
#include "common/rollout/actor_sizes.h"
#include "common/rollout/group_schema.h"
#include "common/rpc/retry.h"
#include "common/sd3/transformer_memory.h"
#include "common/telemetry/log.h"
#include "common/tensor/device_error.h"
#include "common/tensor/device_graph.h"
#include "common/tensor/device_stream.h"

namespace flowawr {
namespace {

constexpr size_t kBatchesToDecode = 2;
constexpr RetryPolicy kSubmitRetry = {.max_attempts = 10, .initial = absl::Milliseconds(200), .max = absl::Seconds(5)};

v1::LeaseRef RefOf(const v1::Lease& lease) {
  v1::LeaseRef ref;
  ref.set_group_id(lease.group_id());
  ref.set_attempt(lease.attempt());
  return ref;
}

// Of a stage that ended just now, after `seconds`: for the run's timeline.
v1::StageSpan SpanOf(const char* stage, double seconds) {
  v1::StageSpan span;
  span.set_stage(stage);
  span.set_start_unix_s(absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch()) - seconds);
  span.set_seconds(seconds);
  return span;
}

// What to lower when sampling `rows` images at once, of prompts of `text_tokens`, is too much for the device.
std::string SamplingAdvice(const Pipeline& model, const LatentShape& shape, int64_t rows, int64_t text_tokens) {
  const Placement placement = model.transformer().placement();
  const PassShape pass{.rows = rows,
                       .latent_height = shape.height,
                       .latent_width = shape.width,
                       .text_tokens = text_tokens,
                       .bytes = static_cast<int64_t>(c10::elementSize(placement.dtype))};
  const double gigabytes = static_cast<double>(SamplingMemory(model.transformer().config(), pass).peak) / 1e9;
  return absl::StrFormat(
      "By the plan %d images at once take %.1f GB beside the weights. Lower rollout.samples_per_group, for evaluations "
      "--evaluation-rows, or have fewer processes share the device; `flowawr plan CONFIG` has the figures",
      rows, gigabytes);
}

void NameThread(const char* name) { pthread_setname_np(pthread_self(), name); }

}  // namespace

RolloutPipeline::RolloutPipeline(const Parts& parts, const Options& options)
    : parts_(parts),
      options_(options),
      device_(parts.model.transformer().placement().device),
      to_encode_(options.prefetch.training_groups + options.prefetch.evaluation_rows),
      to_sample_(options.prefetch.training_groups + options.prefetch.evaluation_rows),
      to_decode_(kBatchesToDecode),
      to_score_(options.score_workers + options.prefetch.evaluation_rows),
      to_submit_(options.score_workers + options.prefetch.evaluation_rows) {
  threads_.emplace_back([this] { Encode(); });
  threads_.emplace_back([this] { Sample(); });
  threads_.emplace_back([this] { Decode(); });
  for (int i = 0; i < options_.score_workers; ++i) threads_.emplace_back([this] { Score(); });
  submit_thread_ = std::thread([this] { Submit(); });
}

RolloutPipeline::~RolloutPipeline() { Stop(); }

void RolloutPipeline::Accept(v1::Lease lease) {
  auto job = std::make_unique<GroupJob>();
  job->ticket = parts_.leases.Add(lease);
  job->lease = std::move(lease);
  if (!to_encode_.Push(std::move(job))) Fail(*job, "actor_stopping", absl::CancelledError("the actor stops"));
}

void RolloutPipeline::Stop() {
  if (IsStopping()) return;
  stopping_.Notify();
  to_encode_.Close();
  to_sample_.Close();
  to_decode_.Close();
  to_score_.Close();
  for (std::thread& thread : threads_) thread.join();
  to_submit_.Close();  // after the last that may feed it
  submit_thread_.join();
}

absl::Status RolloutPipeline::Compute(const std::string& operation, absl::FunctionRef<absl::Status()> work,
                                      const std::string& advice) {
  absl::Status status = AgainAfterRecording([&] { return OnDevice(operation, device_, work, advice); });
  // Also of work that failed: whoever puts its job down frees what the stream may still be reading.
  const absl::Status finished =
      OnDevice(operation, device_, [this] { return AwaitStream(device_), absl::OkStatus(); }, advice);
  if (status.ok() || IsDeviceError(finished)) status = finished;
  if (IsDeviceError(status)) parts_.on_device_error(status);
  return status;
}

bool RolloutPipeline::IsWanted(const GroupJob& job) {
  if (!parts_.leases.IsHeld(job.ticket)) {
    parts_.metrics.CountLostGroup("dropped");
    return false;
  }
  if (!IsStopping()) return true;
  Fail(job, "actor_stopping", absl::CancelledError("the actor stops"));
  return false;
}

void RolloutPipeline::Fail(const GroupJob& job, const std::string& cause, const absl::Status& why) {
  if (!parts_.leases.Release(job.ticket)) return;
  parts_.metrics.CountLostGroup(cause);
  const LogFields fields({{"group", job.lease.group_id()}, {"attempt", uint64_t{job.lease.attempt()}}});
  spdlog::warn("group {} attempt {} handed back, {}: {}", job.lease.group_id(), job.lease.attempt(), cause,
               why.ToString());
  // If even this fails the lease expires for want of a heartbeat.
  const absl::Status told = parts_.learner.FailLease(RefOf(job.lease), cause, std::string(why.message()),
                                                     /*is_handed_back=*/absl::IsCancelled(why) || IsDeviceError(why));
  if (!told.ok()) spdlog::debug("handing back group {}: {}", job.lease.group_id(), told.ToString());
}

// --- encode: prompt embeddings, noise and the policy version, so that all are there when the sampler is

void RolloutPipeline::Encode() {
  NameThread("encode");
  at::set_num_threads(options_.threads);
  const c10::InferenceMode guard;
  const OwnStream stream(device_);
  PromptEncoder encoder(parts_.encode, kPromptsKept);
  while (auto job = to_encode_.Pop()) {
    if (IsWanted(**job)) EncodeOne(*std::move(job), encoder);
  }
}

void RolloutPipeline::EncodeOne(Job job, PromptEncoder& encoder) {
  std::string cause = "policy_failed";
  const absl::Status status = Compute("making a prompt and its policy ready", [&]() -> absl::Status {
    auto policy = parts_.policies.Get(job->lease.policy_version());
    if (!policy.ok()) return policy.status();
    job->policy = *std::move(policy);
    cause = "encode_failed";
    StageTimer timer(parts_.stages, "encode");
    auto embeds = encoder.Get(job->lease.prompt().text());
    if (!embeds.ok()) return embeds.status();
    job->embeds = *std::move(embeds);
    if (IsGuided(job->lease.sampler())) {
      auto negative = encoder.Get("");
      if (!negative.ok()) return Annotate(negative.status(), "the empty prompt, which guidance leads away from");
      job->negative = *std::move(negative);
    }
    FLOWAWR_RETURN_IF_ERROR(DrawNoise(parts_.shape, device_, *job));
    job->spans.push_back(SpanOf("encode", job->stage_seconds["encode"] = timer.Stop()));
    return absl::OkStatus();
  });
  parts_.metrics.SetAdoptedVersion(parts_.policies.newest_version());
  if (!status.ok()) return Fail(*job, cause, status);
  if (!to_sample_.Push(std::move(job))) IsWanted(*job);
}

// --- sample

void RolloutPipeline::Sample() {
  NameThread("sample");
  at::set_num_threads(options_.threads);
  const c10::InferenceMode guard;
  const OwnStream stream(device_);
  StepGraphs graphs(parts_.model.transformer(), options_.graph_batch);
  std::deque<Job> waiting;
  while (true) {
    Batch batch = NextBatch(waiting);
    if (batch.empty()) break;
    SampleBatch(std::move(batch), graphs);
  }
}

// Waits for work, then takes what may be sampled together. Empty once stopped, with every job settled.
RolloutPipeline::Batch RolloutPipeline::NextBatch(std::deque<Job>& waiting) {
  while (true) {
    if (waiting.empty()) {
      StageTimer idle(parts_.stages, "idle");
      auto job = to_sample_.Pop();
      if (!job) return {};
      waiting.push_back(*std::move(job));
    }
    while (auto job = to_sample_.PopWithTimeout(absl::ZeroDuration())) waiting.push_back(*std::move(job));
    std::erase_if(waiting, [this](const Job& job) { return !IsWanted(*job); });
    std::vector<const v1::Lease*> leases;
    for (const Job& job : waiting) leases.push_back(&job->lease);
    Batch batch;
    for (size_t left = GroupsToMerge(leases, options_.prefetch); left > 0; --left) {
      batch.push_back(std::move(waiting.front()));
      waiting.pop_front();
    }
    if (batch.empty()) continue;  // all that waited was dropped
    for (const Job& job : batch) parts_.leases.BeginSampling(job->ticket);
    parts_.metrics.SetQueueDepth("sample", waiting.size() + to_sample_.size());
    return batch;
  }
}

void RolloutPipeline::SampleBatch(Batch batch, StepGraphs& graphs) {
  std::vector<GroupJob*> jobs;
  int64_t rows = 0;
  for (const Job& job : batch) {
    jobs.push_back(job.get());
    rows += job->lease.samples();
  }
  StageTimer timer(parts_.stages, "sample");
  const auto is_wanted = [&] {
    bool any_held = false;
    for (const GroupJob* job : jobs) any_held |= parts_.leases.IsHeld(job->ticket);
    return any_held && !IsStopping();
  };
  const absl::Status status =
      Compute(absl::StrCat("sampling ", rows, " images"),
              [&] { return SampleGroups(parts_.model, graphs, jobs, is_wanted); },
              SamplingAdvice(parts_.model, parts_.shape, rows, jobs[0]->embeds.prompt_embeds.size(1)));
  const double seconds = timer.Stop();
  const v1::StageSpan span = SpanOf("sample", seconds);  // one for all: they were sampled together
  for (GroupJob* job : jobs) {
    job->stage_seconds["sample"] = seconds * job->lease.samples() / rows;
    job->spans.push_back(span);
    if (!status.ok()) {
      if (IsWanted(*job)) Fail(*job, "sample_failed", status);
    }
  }
  if (!status.ok()) return;
  if (to_decode_.Push(std::move(batch))) return;
  for (const GroupJob* job : jobs) IsWanted(*job);
}

// --- decode

void RolloutPipeline::Decode() {
  NameThread("decode");
  at::set_num_threads(options_.threads);
  const c10::InferenceMode guard;
  const OwnStream stream(device_);
  while (auto batch = to_decode_.Pop()) DecodeBatch(*std::move(batch));
}

void RolloutPipeline::DecodeBatch(Batch batch) {
  std::erase_if(batch, [this](const Job& job) { return !IsWanted(*job); });
  if (batch.empty()) return;
  std::vector<GroupJob*> jobs;
  int64_t rows = 0;
  for (const Job& job : batch) {
    jobs.push_back(job.get());
    rows += job->lease.samples();
  }
  StageTimer timer(parts_.stages, "decode");
  const absl::Status status = Compute(absl::StrCat("decoding ", rows, " images"), [&] {
    DecodeGroups(parts_.model.vae(), jobs);
    return absl::OkStatus();
  });
  const double seconds = timer.Stop();
  const v1::StageSpan span = SpanOf("decode", seconds);
  for (Job& job : batch) {
    job->stage_seconds["decode"] = seconds * job->lease.samples() / rows;
    job->spans.push_back(span);
    if (!status.ok()) {
      Fail(*job, "decode_failed", status);
    } else if (!to_score_.Push(std::move(job))) {
      IsWanted(*job);
    }
  }
  parts_.metrics.SetQueueDepth("score", to_score_.size());
}

// --- score: several groups at a time, because most of this is waiting

void RolloutPipeline::Score() {
  NameThread("score");
  while (auto job = to_score_.Pop()) {
    if (IsWanted(**job)) ScoreOne(*std::move(job));
  }
}

void RolloutPipeline::ScoreOne(Job job) {
  StageTimer timer(parts_.stages, "score");
  const auto is_wanted = [&] { return parts_.leases.IsHeld(job->ticket) && !IsStopping(); };
  auto scores = parts_.scorer.Score(job->lease.reward_spec(), job->lease.prompt(), job->images, is_wanted);
  job->spans.push_back(SpanOf("score", job->stage_seconds["score"] = timer.Stop()));
  absl::Status status = scores.status();
  if (scores.ok()) {
    status = CheckRequiredTerms(job->lease.reward_spec(), *scores);
    status.Update(CheckAnyReward(job->lease.reward_spec(), *scores));
  }
  if (!status.ok()) {
    const bool is_hopeless = absl::IsInvalidArgument(status);
    if (IsWanted(*job)) Fail(*job, is_hopeless ? "reward_bad_input" : "reward_failed", status);
    return;
  }
  job->scores = *std::move(scores);
  to_submit_.Push(std::move(job));  // closed only after this thread has ended
}

// --- submit

void RolloutPipeline::Submit() {
  NameThread("submit");
  const c10::InferenceMode guard;
  const OwnStream stream(device_);
  while (auto job = to_submit_.Pop()) SubmitOne(*std::move(job));
}

void RolloutPipeline::SubmitOne(Job job) {
  const LogFields fields({{"group", job->lease.group_id()}, {"attempt", uint64_t{job->lease.attempt()}}});
  StageTimer timer(parts_.stages, "submit");
  absl::StatusOr<GroupMessage> message = absl::InternalError("not made");
  const absl::Status made = Compute("downloading a group", [&] {
    message = MakeGroupMessage(*job, parts_.learner.actor_id());
    return message.status();
  });
  if (!made.ok()) return Fail(*job, "submit_failed", made);
  Backoff backoff(kSubmitRetry);
  while (parts_.leases.IsHeld(job->ticket)) {
    const absl::Status status = parts_.learner.SubmitGroup(message->header, message->blob);
    switch (AfterSubmit(status)) {
      case SubmitAction::kDone:
        if (parts_.leases.Release(job->ticket))
          parts_.metrics.CountGroup(job->lease.purpose() == v1::EVALUATION, job->lease.samples());
        return;
      case SubmitAction::kForget:
        parts_.leases.Release(job->ticket);
        parts_.metrics.CountLostGroup("late");
        spdlog::info("group {} attempt {} came too late: {}", job->lease.group_id(), job->lease.attempt(),
                     status.ToString());
        return;
      case SubmitAction::kFail:
        return Fail(*job, "submit_refused", status);
      case SubmitAction::kRetry:
        break;
    }
    const std::optional<absl::Duration> wait = backoff.Next();
    if (IsStopping()) return Fail(*job, "actor_stopping", absl::CancelledError("the actor stops"));
    if (!wait) return Fail(*job, "submit_failed", status);
    parts_.metrics.CountSubmitRetry();
    spdlog::info("group {} not delivered yet: {}", job->lease.group_id(), status.ToString());
    stopping_.WaitForNotificationWithTimeout(*wait);
  }
  parts_.metrics.CountLostGroup("dropped");
}

}  // namespace flowawr
