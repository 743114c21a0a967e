#include "common/telemetry/metric_catalogue.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"

namespace flowawr {
namespace {

using prometheus::MetricType;

constexpr MetricType kCounter = MetricType::Counter, kGauge = MetricType::Gauge, kHistogram = MetricType::Histogram;

constexpr MetricInfo kMetrics[] = {
    // ---- of every process
    {"every", "flowawr_build_info", kGauge, "", "process,version", "Always 1; the labels say what runs."},
    {"every", "process_cpu_seconds_total", kCounter, "seconds", "", "Processor time, user and system."},
    {"every", "process_resident_memory_bytes", kGauge, "bytes", "", "Memory that the process really occupies."},
    {"every", "process_virtual_memory_bytes", kGauge, "bytes", "", "Address space, mapped model files included."},
    {"every", "process_open_fds", kGauge, "files", "", "Open files and connections."},
    {"every", "process_max_fds", kGauge, "files", "", "How many there may be."},
    {"every", "process_threads", kGauge, "threads", "", "Threads of the process."},
    {"every", "process_start_time_seconds", kGauge, "seconds", "", "When the process started, since 1970."},
    {"every", "flowawr_rpc_calls_total", kCounter, "calls", "side,method,code",
     "Calls of this project's services that have ended, by gRPC's code; side is server or client."},
    {"every", "flowawr_rpc_received_bytes_total", kCounter, "bytes", "side,method", "Messages received, without framing."},
    {"every", "flowawr_rpc_sent_bytes_total", kCounter, "bytes", "side,method", "Messages sent, without framing."},
    {"every", "flowawr_rpc_rejected_calls_total", kCounter, "calls", "reason",
     "Calls refused at the door: no token, an unknown one, one whose role may not do that, meant for another process."},
    {"every", "flowawr_tls_certificate_expiry_timestamp_seconds", kGauge, "seconds", "",
     "When the certificate of network.tls_cert expires, since 1970; absent without one."},

    {"every", "flowawr_device_memory_allocated_bytes", kGauge, "bytes", "device",
     "Memory of an accelerator that the process's tensors occupy; absent on a CPU."},
    {"every", "flowawr_device_memory_reserved_bytes", kGauge, "bytes", "device",
     "What it has taken from the accelerator: allocated, or kept to be allocated again."},
    {"every", "flowawr_device_memory_peak_bytes", kGauge, "bytes", "device", "The most that was ever allocated."},
    {"every", "flowawr_device_transfer_bytes_total", kCounter, "bytes", "device,direction",
     "What the process copied up to an accelerator (weights, adapters, noise, embeddings, rows) and down from it (latents, "
     "pictures, gradients, scores); absent on a CPU."},
    {"every", "flowawr_device_memory_size_bytes", kGauge, "bytes", "device",
     "All of the accelerator's memory. This and what follows: of NVIDIA cards that the process uses, by NVML."},
    {"every", "flowawr_device_used_memory_bytes", kGauge, "bytes", "device",
     "What all processes and the driver use of it; more than is reserved here: others share it."},
    {"every", "flowawr_device_utilization_ratio", kGauge, "ratio", "device",
     "Share of the last moments in which the accelerator computed anything, for whomever."},
    {"every", "flowawr_device_power_watts", kGauge, "watts", "device", "What it draws."},
    {"every", "flowawr_device_temperature_celsius", kGauge, "degrees Celsius", "device", "Of its chip."},
    {"every", "flowawr_device_bus_bytes_total", kCounter, "bytes", "device,direction",
     "What went over its bus, for whomever: up to it, down from it."},
    {"every", "flowawr_device_throttled", kGauge, "", "device,reason",
     "1 while its clocks are held down: power_cap (ordinary under full load), software_thermal, hardware_thermal, "
     "power_brake, hardware; else 0."},

    // ---- learner: the run
    {"learner", "flowawr_learner_run_info", kGauge, "", "run_id,name", "Always 1; the labels say which run it is."},
    {"learner", "flowawr_learner_phase", kGauge, "", "phase", "1 for the phase that the run is in, 0 for the others."},
    {"learner", "flowawr_learner_paused", kGauge, "", "cause", "1 while the run is paused for that cause, else 0."},
    {"learner", "flowawr_learner_warnings", kGauge, "warnings", "", "What the run goes on in spite of, see its status."},
    {"learner", "flowawr_learner_updates_total", kCounter, "updates", "", "Updates done, over all resumes."},
    {"learner", "flowawr_learner_updates_planned", kGauge, "updates", "", "Updates after which the run is finished."},
    {"learner", "flowawr_learner_updates_skipped_total", kCounter, "updates", "",
     "Updates that changed nothing, because the rewards of each group were all equal."},
    {"learner", "flowawr_learner_update_age_seconds", kGauge, "seconds", "",
     "Since the newest update; before the first one of this process, since it began."},
    {"learner", "flowawr_learner_checkpoint_age_seconds", kGauge, "seconds", "",
     "Since the newest checkpoint; before the first one of this process, since it began."},
    {"learner", "flowawr_learner_training_seconds_total", kCounter, "seconds", "",
     "Training time up to the newest update, over all resumes, without pauses."},
    {"learner", "flowawr_learner_remaining_seconds", kGauge, "seconds", "", "Estimate of what is left; NaN: not known."},
    {"learner", "flowawr_learner_stage_seconds_total", kCounter, "seconds", "stage",
     "Where the run loop's time went: wait, energy, train, step, publish, checkpoint, evaluate."},
    {"learner", "flowawr_learner_rank_exchange_seconds_total", kCounter, "seconds", "stage",
     "What several ranks' gradients took beside computing them, at rank 0: send shares to each, receive results of each, add "
     "them up."},
    {"learner", "flowawr_learner_rank_state", kGauge, "", "rank,state",
     "1 for the state that a rank is in, 0 for the others: joining (not there yet), ready, lost; absent of a learner alone."},
    {"learner", "flowawr_learner_rank_rows_per_second", kGauge, "rows/second", "rank",
     "How fast a rank computed its share of the last update; NaN: none yet."},
    {"learner", "flowawr_learner_rank_losses_total", kCounter, "losses", "rank",
     "How often a rank was lost: its link ended, or it hung; absent of a learner alone."},
    {"learner", "flowawr_learner_awaited_ranks", kGauge, "ranks", "",
     "For how many ranks the update waits, as the first one does, and any with train.on_lost_rank: wait."},
    {"learner", "flowawr_learner_run_directory_free_bytes", kGauge, "bytes", "",
     "Room on the file system of the run's folder; NaN: it does not say."},
    {"learner", "flowawr_learner_run_directory_size_bytes", kGauge, "bytes", "", "Size of that file system."},
    // ---- learner: what it learns from
    {"learner", "flowawr_learner_reward", kGauge, "", "", "Mean weighted reward of the last batch; NaN: missing."},
    {"learner", "flowawr_learner_scorer_reward", kGauge, "", "scorer",
     "Mean of each scorer's rewards in the last batch, shadows included."},
    {"learner", "flowawr_learner_heldout_reward", kGauge, "", "",
     "Mean weighted reward of the last evaluation on held-out prompts; NaN: missing."},
    {"learner", "flowawr_learner_heldout_scorer_reward", kGauge, "", "scorer", "The same, of each scorer."},
    {"learner", "flowawr_learner_heldout_exact_ratio", kGauge, "ratio", "",
     "Share of held-out images that the first scorer calls exactly right; NaN: it does not say."},
    {"learner", "flowawr_learner_heldout_base_reward", kGauge, "", "",
     "Held-out reward before the first update; NaN: missing."},
    {"learner", "flowawr_learner_heldout_update", kGauge, "updates", "",
     "After how many updates the last evaluation was made; NaN: there was none."},
    {"learner", "flowawr_learner_loss", kGauge, "", "", "Loss of the last update that trained; NaN: none did."},
    {"learner", "flowawr_learner_kl", kGauge, "", "",
     "Its mean squared distance of velocities from the base model's; NaN: none trained."},
    {"learner", "flowawr_learner_gradient_norm", kGauge, "", "", "Its gradient norm, before clipping; NaN: none trained."},
    {"learner", "flowawr_learner_energy", kGauge, "", "figure",
     "Energies of the last batch, the weights of the regression: mean, least, greatest."},
    {"learner", "flowawr_learner_energy_clipped_ratio", kGauge, "ratio", "",
     "Share of the last batch's samples whose energy is at algorithm.flow_awr.energy_clip."},
    {"learner", "flowawr_learner_equal_groups_ratio", kGauge, "ratio", "",
     "Share of the last batch's groups that teach nothing, as their rewards are all equal."},
    {"learner", "flowawr_learner_staleness_mean_versions", kGauge, "versions", "",
     "How many policy versions the last batch's groups were behind, on average."},
    {"learner", "flowawr_learner_staleness_max_versions", kGauge, "versions", "", "The most that one of them was."},
    {"learner", "flowawr_learner_staleness_limit_versions", kGauge, "versions", "",
     "rollout.max_staleness; 0: strictly in step."},
    {"learner", "flowawr_learner_reward_spec_version", kGauge, "", "", "Of the rewards; grows with every swap."},
    {"learner", "flowawr_learner_reward_weight", kGauge, "", "scorer", "Weight of each reward; 0: a shadow."},
    {"learner", "flowawr_learner_scorers_loaded_again_total", kCounter, "scorers", "scorer",
     "Scorers that a reward server had lost with its process and that the learner loaded again."},
    {"learner", "flowawr_learner_shadow_groups", kGauge, "groups", "scorer",
     "Groups of the newest updates in which a shadow could be compared with what is trained on."},
    {"learner", "flowawr_learner_shadow_rank_correlation", kGauge, "", "scorer",
     "Spearman's, of a shadow with what is trained on, within groups; NaN: no group could be compared."},
    {"learner", "flowawr_learner_shadow_best_differs", kGauge, "ratio", "scorer",
     "Share of groups whose best sample is another one for the shadow; NaN: as above."},
    // ---- learner: groups
    {"learner", "flowawr_learner_groups_accepted_total", kCounter, "groups", "", "Training groups accepted."},
    {"learner", "flowawr_learner_groups_dropped_total", kCounter, "groups", "cause",
     "Groups refused, failed or handed back, by cause."},
    {"learner", "flowawr_learner_samples_accepted_total", kCounter, "images", "",
     "Samples of the training groups accepted."},
    {"learner", "flowawr_learner_samples_trained_total", kCounter, "images", "", "Samples trained on, over all resumes."},
    {"learner", "flowawr_learner_batch_groups", kGauge, "groups", "", "Groups of the next batch that are in."},
    {"learner", "flowawr_learner_batch_size_groups", kGauge, "groups", "", "Groups of a whole batch."},
    {"learner", "flowawr_learner_open_leases", kGauge, "leases", "", "Leases that actors hold."},
    // ---- learner: its actors
    {"learner", "flowawr_learner_actors", kGauge, "actors", "", "Actors heard of lately."},
    {"learner", "flowawr_learner_actors_joined_total", kCounter, "actors", "",
     "Actors that began, starts anew of the same one included."},
    {"learner", "flowawr_learner_actors_left_total", kCounter, "actors", "", "Actors that left in good order."},
    {"learner", "flowawr_learner_actors_lost_total", kCounter, "actors", "",
     "Actors that were not heard of any more, or came back without having left."},
    {"learner", "flowawr_learner_actor_info", kGauge, "", "actor,address", "Always 1, of each actor heard of lately."},
    {"learner", "flowawr_learner_actor_groups_total", kCounter, "groups", "actor", "Groups accepted from it."},
    {"learner", "flowawr_learner_actor_samples_total", kCounter, "images", "actor", "Images in them."},
    {"learner", "flowawr_learner_actor_images_per_second", kGauge, "images/second", "actor", "Of the last minute."},
    {"learner", "flowawr_learner_actor_silence_seconds", kGauge, "seconds", "actor", "Since it was last heard of."},
    {"learner", "flowawr_learner_actor_version_lag", kGauge, "versions", "actor",
     "Published versions since the one that it adopted last, those for evaluations included; NaN: none adopted yet."},
    {"learner", "flowawr_learner_actor_held_leases", kGauge, "leases", "actor", "Leases that it holds."},
    {"learner", "flowawr_learner_actor_stage_seconds_total", kCounter, "seconds", "actor,stage",
     "Where its time went, as it reports with its heartbeats: encode, sample, decode, score, submit, idle."},
    // ---- learner: policy versions
    {"learner", "flowawr_learner_policy_fetches_total", kCounter, "copies", "source",
     "Adapters that actors got: from the learner, once sent; from a peer, another actor, once adopted."},
    {"learner", "flowawr_learner_policy_fetched_bytes_total", kCounter, "bytes", "source", "Their size."},
    {"learner", "flowawr_learner_policy_peer_failures_total", kCounter, "fetches", "",
     "Fetches from another actor, named by the learner, that failed; the actors' metrics say why."},

    // ---- actor
    {"actor", "flowawr_actor_groups_total", kCounter, "groups", "purpose",
     "Groups that the learner accepted, for training or evaluation."},
    {"actor", "flowawr_actor_samples_total", kCounter, "images", "purpose", "Images in them."},
    {"actor", "flowawr_actor_lost_groups_total", kCounter, "groups", "cause", "Leased groups that were not delivered."},
    {"actor", "flowawr_actor_stage_seconds_total", kCounter, "seconds", "stage",
     "Where time goes: encode, sample, decode, score, submit, idle. Scoring has several threads, the others one each."},
    {"actor", "flowawr_actor_queue_groups", kGauge, "groups", "stage", "Groups that wait for a stage: sample, score."},
    {"actor", "flowawr_actor_held_leases", kGauge, "leases", "", "Leases under way."},
    {"actor", "flowawr_actor_adopted_version", kGauge, "versions", "", "Newest policy version adopted."},
    {"actor", "flowawr_actor_announced_version", kGauge, "versions", "",
     "Newest policy version that the learner told of; above the adopted one while that is fetched."},
    {"actor", "flowawr_actor_policy_fetches_total", kCounter, "copies", "source",
     "Adapters that it got: from the learner, or from a peer, another actor."},
    {"actor", "flowawr_actor_policy_peer_failures_total", kCounter, "fetches", "cause",
     "Fetches from another actor that failed: unreachable, silent, not_held, refused, wrong_bytes."},
    {"actor", "flowawr_actor_sessions_total", kCounter, "registrations", "",
     "Registrations with a learner; more than one: the connection was lost, or the learner started anew."},
    {"actor", "flowawr_actor_retries_total", kCounter, "attempts", "what",
     "Attempts beyond the first: score, of calls of reward servers; submit, of deliveries to the learner."},
    {"actor", "flowawr_actor_reward_breaker", kGauge, "", "endpoint,state",
     "1 for the state of a reward server's circuit breaker: closed, open (left alone), half_open (asked by one call)."},
    {"actor", "flowawr_actor_reward_calls", kGauge, "calls", "endpoint", "Calls of a reward server that are under way."},

    // ---- reward server
    {"reward_server", "flowawr_scored_images_total", kCounter, "images", "scorer,outcome",
     "Images by scorer and what came of them: reward, bad_input, overloaded, broken."},
    {"reward_server", "flowawr_scoring_seconds", kHistogram, "seconds", "scorer",
     "Time of one call of a scorer, which scores a batch of images."},
    {"reward_server", "flowawr_scoring_batch_images", kHistogram, "images", "scorer",
     "Images that a scorer was given at once."},
    {"reward_server", "flowawr_scorer_wait_seconds", kHistogram, "seconds", "scorer",
     "Time that an image waited for its scorer."},
    {"reward_server", "flowawr_score_request_seconds", kHistogram, "seconds", "scorer",
     "Time from a request's coming to its answer."},
    {"reward_server", "flowawr_scorer_queue_images", kGauge, "images", "scorer", "Images that wait for a scorer."},
    {"reward_server", "flowawr_scorer_queue_limit_images", kGauge, "images", "scorer",
     "How many may wait; more are answered with overloaded."},
    {"reward_server", "flowawr_scorer_healthy", kGauge, "", "scorer", "1; 0 while a call of the scorer does not return."},
    {"reward_server", "flowawr_scorer_memory_bytes", kGauge, "bytes", "scorer",
     "Of a scorer's weights, those that it shares included."},
    {"reward_server", "flowawr_scorer_used_total", kCounter, "", "scorer,what",
     "What a scorer used beside time: a judge's requests, retries, tokens and cost; absent for scorers that use nothing."},
    {"reward_server", "flowawr_pending_request_bytes", kGauge, "bytes", "",
     "Of requests that wait or are scored, and of answers that are not read yet."},
};

absl::string_view NameOfType(MetricType type) {
  switch (type) {
    case kCounter:
      return "counter";
    case kGauge:
      return "gauge";
    default:
      return "histogram";
  }
}

const MetricInfo& FindOfType(absl::string_view name, MetricType type) {
  const MetricInfo& info = FindMetric(name);
  if (info.type == type) return info;
  std::fprintf(stderr, "the metric %.*s is no %s\n", static_cast<int>(name.size()), name.data(),
               std::string(NameOfType(type)).c_str());
  std::abort();
}

template <typename Builder>
auto& Register(Builder builder, prometheus::Registry& registry, const MetricInfo& info) {
  return builder.Name(std::string(info.name)).Help(std::string(info.help)).Register(registry);
}

}  // namespace

absl::Span<const MetricInfo> MetricCatalogue() { return kMetrics; }

const MetricInfo& FindMetric(absl::string_view name) {
  const auto* const found = std::find_if(std::begin(kMetrics), std::end(kMetrics),
                                         [name](const MetricInfo& info) { return info.name == name; });
  if (found != std::end(kMetrics)) return *found;
  std::fprintf(stderr, "the metric %.*s is not in the catalogue\n", static_cast<int>(name.size()), name.data());
  std::abort();
}

prometheus::MetricFamily FamilyOf(absl::string_view name) {
  const MetricInfo& info = FindMetric(name);
  prometheus::MetricFamily family;
  family.name = std::string(info.name);
  family.help = std::string(info.help);
  family.type = info.type;
  return family;
}

void AddMetric(prometheus::MetricFamily& family, double value, std::vector<prometheus::ClientMetric::Label> labels) {
  prometheus::ClientMetric& metric = family.metric.emplace_back();
  metric.label = std::move(labels);
  (family.type == kCounter ? metric.counter.value : metric.gauge.value) = value;
}

prometheus::MetricFamily SingleMetric(absl::string_view name, double value) {
  prometheus::MetricFamily family = FamilyOf(name);
  AddMetric(family, value);
  return family;
}

prometheus::Family<prometheus::Counter>& RegisterCounter(prometheus::Registry& registry, absl::string_view name) {
  return Register(prometheus::BuildCounter(), registry, FindOfType(name, kCounter));
}

prometheus::Family<prometheus::Gauge>& RegisterGauge(prometheus::Registry& registry, absl::string_view name) {
  return Register(prometheus::BuildGauge(), registry, FindOfType(name, kGauge));
}

prometheus::Family<prometheus::Histogram>& RegisterHistogram(prometheus::Registry& registry, absl::string_view name) {
  return Register(prometheus::BuildHistogram(), registry, FindOfType(name, kHistogram));
}

std::string MetricReference() {
  const std::pair<absl::string_view, absl::string_view> processes[] = {
      {"every", "Every process"}, {"learner", "Learner"}, {"actor", "Actor"}, {"reward_server", "Reward server"}};
  std::string page;
  for (const auto& [process, title] : processes) {
    absl::StrAppend(&page, "### ", title, "\n| metric | type | unit | |\n|---|---|---|---|\n");
    for (const MetricInfo& info : kMetrics) {
      if (info.process != process) continue;
      absl::StrAppend(&page, "| `", info.name, info.labels.empty() ? "" : "{", info.labels,
                      info.labels.empty() ? "" : "}", "` | ", NameOfType(info.type), " | ", info.unit, " | ", info.help,
                      " |\n");
    }
    absl::StrAppend(&page, "\n");
  }
  page.pop_back();
  return page;
}

}  // namespace flowawr
