#include "learner/learner_metrics.h"

#include <prometheus/collectable.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/ascii.h"
#include "absl/synchronization/mutex.h"
#include "common/base/clock.h"
#include "common/telemetry/metric_catalogue.h"

namespace flowawr {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using Families = std::vector<MetricFamily>;

// Shown from the beginning: of a counter that begins above 0 nobody sees that it grew.
constexpr const char* kDropCauses[] = {
    "actor_gone", "actor_stopping", "adoption_refused", "bad_reward",
    "broken_stream", "decode_failed", "duplicate", "encode_failed",
    "log_prob_drift", "malformed", "not_finite", "not_finite_gradient",
    "not_leased", "out_of_range", "policy_failed", "reward_bad_input",
    "reward_failed", "reward_unreachable", "sample_failed", "stale",
    "submit_failed", "submit_refused", "swapped", "too_large",
    "unbound_adapter", "unknown_lease", "wrong_digest", "wrong_log_prob",
    "wrong_reward_spec", "wrong_shape", "wrong_version"};
constexpr const char* kPauseCauses[] = {"operator", "disk", "attempts", "reward"};
constexpr const char* kStages[] = {"wait", "energy", "train", "step", "publish", "checkpoint", "evaluate"};
constexpr char kOther[] = "other";

double OrNan(bool is_known, double value) { return is_known ? value : NAN; }

// One metric for each of `known`, 0 without a value, and one for all other keys together.
template <typename Map, size_t n>
MetricFamily ByKnown(const char* name, const char* label, const char* const (&known)[n], const Map& values) {
  std::map<std::string, double> shown;
  for (const char* key : known) shown[key] = 0;
  shown[kOther] = 0;
  for (const auto& [key, value] : values) shown[shown.contains(key) ? key : kOther] += static_cast<double>(value);
  MetricFamily family = FamilyOf(name);
  for (const auto& [key, value] : shown) AddMetric(family, value, {{label, key}});
  return family;
}

template <typename Map>
MetricFamily ByScorer(const char* name, const Map& values) {
  const std::map<std::string, double> sorted(values.begin(), values.end());
  MetricFamily family = FamilyOf(name);
  for (const auto& [scorer, value] : sorted) AddMetric(family, value, {{"scorer", scorer}});
  return family;
}

MetricFamily Phases(v1::RunPhase now) {
  MetricFamily family = FamilyOf("flowawr_learner_phase");
  const auto* const phases = v1::RunPhase_descriptor();
  for (int i = 0; i < phases->value_count(); ++i) {
    if (phases->value(i)->number() == v1::RUN_PHASE_UNSPECIFIED) continue;
    AddMetric(family, phases->value(i)->number() == now, {{"phase", absl::AsciiStrToLower(phases->value(i)->name())}});
  }
  return family;
}

void AddRun(const v1::Status& status, const LearnerFacts& facts, Families& out) {
  MetricFamily info = FamilyOf("flowawr_learner_run_info");
  AddMetric(info, 1, {{"name", status.name()}, {"run_id", status.run_id()}});
  out.push_back(std::move(info));
  out.push_back(Phases(status.phase()));
  std::map<std::string, int> paused;
  if (status.phase() == v1::PAUSED) paused[status.pause_cause()] = 1;
  out.push_back(ByKnown("flowawr_learner_paused", "cause", kPauseCauses, paused));
  const std::pair<const char*, double> figures[] = {
      {"warnings", status.warnings_size()},
      {"updates_total", static_cast<double>(status.update())},
      {"updates_planned", static_cast<double>(status.updates_total())},
      {"updates_skipped_total", static_cast<double>(status.updates_skipped())},
      {"update_age_seconds", status.has_update_age_s() ? status.update_age_s() : facts.age_s},
      {"checkpoint_age_seconds", status.has_checkpoint_age_s() ? status.checkpoint_age_s() : facts.age_s},
      {"training_seconds_total", status.elapsed_s()},
      {"remaining_seconds", OrNan(status.remaining_s() > 0 || status.phase() == v1::FINISHED, status.remaining_s())},
      {"run_directory_free_bytes", facts.free_bytes.value_or(NAN)},
      {"run_directory_size_bytes", facts.size_bytes.value_or(NAN)}};
  for (const auto& [name, value] : figures) out.push_back(SingleMetric(std::string("flowawr_learner_") + name, value));
  out.push_back(ByKnown("flowawr_learner_stage_seconds_total", "stage", kStages, status.learner_seconds()));
}

void AddRanks(const v1::Status& status, Families& out) {
  MetricFamily states = FamilyOf("flowawr_learner_rank_state"), rows = FamilyOf("flowawr_learner_rank_rows_per_second");
  for (const v1::RankStatus& rank : status.ranks()) {
    const ClientMetric::Label number = {"rank", std::to_string(rank.rank())};
    for (const auto state : {v1::RankStatus::JOINING, v1::RankStatus::READY, v1::RankStatus::LOST})
      AddMetric(states, rank.state() == state,
                {number, {"state", absl::AsciiStrToLower(v1::RankStatus::State_Name(state))}});
    AddMetric(rows, OrNan(rank.rows_per_s() > 0, rank.rows_per_s()), {number});
  }
  for (MetricFamily* family : {&states, &rows}) out.push_back(std::move(*family));
}

void AddLearning(const v1::Status& status, const LearnerFacts& facts, Families& out) {
  const v1::EvaluationSummary& heldout = status.latest();
  const auto clipped = status.energy().find("clipped_share");
  const std::pair<const char*, double> figures[] = {
      {"reward", OrNan(status.has_reward_mean(), status.reward_mean())},
      {"heldout_reward", OrNan(heldout.has_reward_mean(), heldout.reward_mean())},
      {"heldout_exact_ratio", OrNan(heldout.has_exact_share(), heldout.exact_share())},
      {"heldout_base_reward", OrNan(status.base().has_reward_mean(), status.base().reward_mean())},
      {"heldout_update", OrNan(status.has_latest(), static_cast<double>(heldout.update()))},
      {"loss", OrNan(status.has_loss(), status.loss())},
      {"kl", OrNan(status.has_kl(), status.kl())},
      {"gradient_norm", OrNan(status.has_grad_norm(), status.grad_norm())},
      {"energy_clipped_ratio", clipped == status.energy().end() ? NAN : clipped->second},
      {"equal_groups_ratio", OrNan(status.has_equal_groups_share(), status.equal_groups_share())},
      {"staleness_mean_versions", OrNan(status.has_staleness_mean(), status.staleness_mean())},
      {"staleness_max_versions", OrNan(status.has_staleness_max(), status.staleness_max())},
      {"staleness_limit_versions", facts.max_staleness},
      {"reward_spec_version", static_cast<double>(status.reward_spec().version())}};
  for (const auto& [name, value] : figures) out.push_back(SingleMetric(std::string("flowawr_learner_") + name, value));
  out.push_back(ByScorer("flowawr_learner_scorer_reward", status.reward_by_scorer()));
  out.push_back(ByScorer("flowawr_learner_heldout_scorer_reward", heldout.by_scorer()));
  MetricFamily energy = FamilyOf("flowawr_learner_energy");
  for (const char* figure : {"mean", "least", "greatest"}) {
    const auto found = status.energy().find(figure);
    if (found != status.energy().end()) AddMetric(energy, found->second, {{"figure", figure}});
  }
  out.push_back(std::move(energy));
  MetricFamily weights = FamilyOf("flowawr_learner_reward_weight");
  for (const v1::RewardSpecTerm& term : status.reward_spec().terms())
    AddMetric(weights, term.weight(), {{"scorer", term.scorer()}});
  out.push_back(std::move(weights));
  MetricFamily groups = FamilyOf("flowawr_learner_shadow_groups"),
               correlation = FamilyOf("flowawr_learner_shadow_rank_correlation"),
               differs = FamilyOf("flowawr_learner_shadow_best_differs");
  for (const v1::ShadowReward& shadow : status.shadows()) {
    const std::vector<ClientMetric::Label> label = {{"scorer", shadow.scorer()}};
    AddMetric(groups, static_cast<double>(shadow.groups()), label);
    AddMetric(correlation, OrNan(shadow.groups() > 0, shadow.rank_correlation()), label);
    AddMetric(differs, OrNan(shadow.groups() > 0, shadow.best_differs()), label);
  }
  for (MetricFamily* family : {&groups, &correlation, &differs}) out.push_back(std::move(*family));
}

void AddGroups(const v1::Status& status, const LearnerFacts& facts, Families& out) {
  const std::pair<const char*, double> figures[] = {
      {"groups_accepted_total", static_cast<double>(status.groups_accepted())},
      {"samples_accepted_total", static_cast<double>(status.samples_accepted())},
      {"samples_trained_total", static_cast<double>(status.samples_trained())},
      {"batch_groups", status.batch_groups()},
      {"batch_size_groups", facts.groups_per_batch},
      {"open_leases", status.open_leases()}};
  for (const auto& [name, value] : figures) out.push_back(SingleMetric(std::string("flowawr_learner_") + name, value));
  out.push_back(ByKnown("flowawr_learner_groups_dropped_total", "cause", kDropCauses, status.dropped()));
}

void AddActors(const v1::Status& status, const FleetCounts& fleet, Families& out) {
  out.push_back(SingleMetric("flowawr_learner_actors", status.actors_size()));
  out.push_back(SingleMetric("flowawr_learner_actors_joined_total", static_cast<double>(fleet.joined)));
  out.push_back(SingleMetric("flowawr_learner_actors_left_total", static_cast<double>(fleet.left)));
  out.push_back(SingleMetric("flowawr_learner_actors_lost_total", static_cast<double>(fleet.lost)));
  MetricFamily info = FamilyOf("flowawr_learner_actor_info"), groups = FamilyOf("flowawr_learner_actor_groups_total"),
               samples = FamilyOf("flowawr_learner_actor_samples_total"),
               rate = FamilyOf("flowawr_learner_actor_images_per_second"),
               silence = FamilyOf("flowawr_learner_actor_silence_seconds"),
               lag = FamilyOf("flowawr_learner_actor_version_lag"), held = FamilyOf("flowawr_learner_actor_held_leases"),
               stages = FamilyOf("flowawr_learner_actor_stage_seconds_total");
  const int shown = std::min(status.actors_size(), kMostActorsShown);
  for (int i = 0; i < shown; ++i) {
    const v1::ActorStatus& actor = status.actors(i);
    const ClientMetric::Label name = {"actor", actor.actor_id()};
    AddMetric(info, 1, {name, {"address", actor.address()}});
    AddMetric(groups, static_cast<double>(actor.groups()), {name});
    AddMetric(samples, static_cast<double>(actor.samples()), {name});
    AddMetric(rate, actor.images_per_s(), {name});
    AddMetric(silence, actor.seconds_since_seen(), {name});
    const uint64_t newest = std::max(status.policy_version(), actor.adopted_version());
    AddMetric(lag, OrNan(actor.adopted_version() > 0, static_cast<double>(newest - actor.adopted_version())), {name});
    AddMetric(held, actor.held_leases(), {name});
    for (const auto& [stage, seconds] : actor.stage_seconds()) AddMetric(stages, seconds, {name, {"stage", stage}});
  }
  for (MetricFamily* family : {&info, &groups, &samples, &rate, &silence, &lag, &held, &stages})
    out.push_back(std::move(*family));
}

}  // namespace

std::vector<MetricFamily> MetricsOf(const v1::Status& status, const LearnerFacts& facts) {
  Families families;
  AddRun(status, facts, families);
  AddRanks(status, families);
  AddLearning(status, facts, families);
  AddGroups(status, facts, families);
  AddActors(status, facts.fleet, families);
  // Of a family without metrics there is nothing to show.
  std::erase_if(families, [](const MetricFamily& family) { return family.metric.empty(); });
  return families;
}

// A scrape under way may outlive the LearnerMetrics that it began under: it then finds nothing.
class LearnerMetrics::Page : public prometheus::Collectable {
 public:
  Page(const StatusBoard& board, const LeaseDesk& leases, const v1::RolloutConfig& rollout, std::string run_dir)
      : run_dir_(std::move(run_dir)), board_(&board), leases_(&leases) {
    facts_.max_staleness = rollout.max_staleness();
    facts_.groups_per_batch = rollout.groups_per_batch();
  }

  Families Collect() const override {
    LearnerFacts facts = facts_;
    // Before the lock: a file system in the network may take its time.
    struct statvfs system {};
    if (statvfs(run_dir_.c_str(), &system) == 0) {
      facts.free_bytes = static_cast<double>(system.f_bavail) * static_cast<double>(system.f_frsize);
      facts.size_bytes = static_cast<double>(system.f_blocks) * static_cast<double>(system.f_frsize);
    }
    v1::Status status;
    {
      absl::MutexLock lock(&mutex_);
      if (board_ == nullptr) return {};
      facts.age_s = absl::ToDoubleSeconds(MonotonicNow() - made_at_);
      status = board_->status();
      facts.fleet = leases_->fleet();
    }
    return MetricsOf(status, facts);
  }

  void Close() {
    absl::MutexLock lock(&mutex_);
    board_ = nullptr;
    leases_ = nullptr;
  }

 private:
  const std::string run_dir_;
  const absl::Time made_at_ = MonotonicNow();
  LearnerFacts facts_;
  mutable absl::Mutex mutex_;
  const StatusBoard* board_ ABSL_GUARDED_BY(mutex_);
  const LeaseDesk* leases_ ABSL_GUARDED_BY(mutex_);
};

LearnerMetrics::LearnerMetrics(MetricsServer& server, const StatusBoard& board, const LeaseDesk& leases,
                               const v1::RolloutConfig& rollout, const std::string& run_dir)
    : page_(std::make_shared<Page>(board, leases, rollout, run_dir)) {
  server.Show(page_);
}

LearnerMetrics::~LearnerMetrics() { page_->Close(); }

}  // namespace flowawr
