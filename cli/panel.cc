#include "cli/panel.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "cli/text_lines.h"
#include "common/base/device_list.h"
#include "common/scoring/reward_terms.h"

namespace flowawr {
namespace {

constexpr int kLeastWidth = 20;
constexpr int kWidestBar = 40;
constexpr int kIndent = 4;  // of what a long line is continued with
constexpr size_t kMostActors = 8, kMostRanks = 8;  // lines of the panel
constexpr double kSilenceSeconds = 5;  // of an actor, worth telling
constexpr double kLostSeconds = 15;    // of an actor that has most likely gone
constexpr int kWidestTrend = 40;

enum class Tone { kPlain, kStrong, kDim, kGood, kWarning, kBad };

const char* SequenceOf(Tone tone) {
  switch (tone) {
    case Tone::kStrong:
      return "\x1b[1m";
    case Tone::kDim:
      return "\x1b[2m";
    case Tone::kGood:
      return "\x1b[32m";
    case Tone::kWarning:
      return "\x1b[33m";
    case Tone::kBad:
      return "\x1b[31m";
    default:
      return "";
  }
}

// What the panel is made of: lines before they are wrapped.
class PanelLines {
 public:
  void Add(std::string line, Tone tone = Tone::kPlain) { lines_.emplace_back(std::move(line), tone); }

  std::vector<std::string> Wrapped(int width, bool has_colour) const {
    std::vector<std::string> fitting;
    for (const auto& [line, tone] : lines_)
      for (const std::string& part : WrapText(line, width, kIndent))
        fitting.push_back(has_colour && tone != Tone::kPlain ? absl::StrCat(SequenceOf(tone), part, "\x1b[0m") : part);
    return fitting;
  }

 private:
  std::vector<std::pair<std::string, Tone>> lines_;
};

Tone ToneOf(v1::RunPhase phase) {
  switch (phase) {
    case v1::PAUSED:
      return Tone::kWarning;
    case v1::FAILED:
      return Tone::kBad;
    case v1::FINISHED:
      return Tone::kGood;
    default:
      return Tone::kStrong;
  }
}

// The newest evaluation beside the base's: better or worse by more than twice the standard error of the difference.
// Rewards that were swapped are not compared.
Tone ToneOfGain(const v1::Status& status) {
  const v1::EvaluationSummary &base = status.base(), &latest = status.latest();
  if (!base.has_reward_mean() || !latest.has_reward_mean() || status.reward_spec().version() > 1) return Tone::kPlain;
  const double gain = latest.reward_mean() - base.reward_mean();
  const double error = std::hypot(base.reward_stderr(), latest.reward_stderr());
  if (std::abs(gain) <= 2 * error) return Tone::kPlain;
  return gain > 0 ? Tone::kGood : Tone::kBad;
}

std::string Bar(uint64_t done, uint64_t total, int width) {
  const double share = total == 0 ? 0 : std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
  const int full = static_cast<int>(std::floor(share * width));
  std::string bar;
  for (int i = 0; i < width; ++i) bar += i < full ? "█" : "░";
  return bar;
}

// `left` and `right` at the two ends of a line; `right` is dropped when both do not fit.
std::string Ends(absl::string_view left, absl::string_view right, int width) {
  const int gap = width - DisplayColumns(left) - DisplayColumns(right);
  if (gap < 2) return std::string(left);
  return absl::StrCat(left, std::string(gap, ' '), right);
}

std::string Times(const v1::Status& status) {
  std::string text = FormatDuration(status.elapsed_s());
  if (status.remaining_s() > 0) absl::StrAppend(&text, ", about ", FormatDuration(status.remaining_s()), " left");
  return text;
}

std::string Dropped(const v1::Status& status) {
  std::vector<std::pair<std::string, uint64_t>> causes(status.dropped().begin(), status.dropped().end());
  std::sort(causes.begin(), causes.end());
  std::string text;
  for (const auto& [cause, count] : causes)
    if (count > 0) absl::StrAppend(&text, text.empty() ? "   dropped: " : ", ", count, " ", cause);
  return text;
}

// "trend    ▁▂▅█ rising, 0.250 to 0.520 since update 3"; the word only where there is enough to tell.
std::string DescribeTrend(const RewardTrend& trend, int columns) {
  const std::vector<double> values = trend.values();
  std::string text = absl::StrCat("  trend    ", Sparkline(values, columns), " ");
  if (const std::optional<Direction> direction = DirectionOf(values))
    absl::StrAppend(&text, *direction == Direction::kUp     ? "↑ rising, "
                           : *direction == Direction::kDown ? "↓ falling, "
                                                            : "→ level, ");
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  absl::StrAppendFormat(&text, "%.3f to %.3f since update %d", *low, *high, trend.first_update());
  return text;
}

Tone ToneOf(const RewardTrend& trend) {
  const std::optional<Direction> direction = DirectionOf(trend.values());
  if (!direction || *direction == Direction::kLevel) return Tone::kPlain;
  return *direction == Direction::kUp ? Tone::kGood : Tone::kWarning;
}

std::string Figure(bool is_measured, double value, int decimals) {
  return is_measured && std::isfinite(value) ? absl::StrFormat("%.*f", decimals, value) : "missing";
}

// "reward 0.512, loss 0.0123, ...": the reward is the last batch's, the others are of the last update that trained.
std::string LastUpdate(const v1::Status& status, absl::string_view separator) {
  const std::string reward = absl::StrCat("reward ", Figure(status.has_reward_mean(), status.reward_mean(), 3));
  if (!status.has_loss()) return reward;  // every update so far was skipped
  return absl::StrCat(reward, separator, "loss ", Figure(true, status.loss(), 4), separator, "kl ",
                      Figure(status.has_kl(), status.kl(), 5), separator, "grad norm ",
                      Figure(status.has_grad_norm(), status.grad_norm(), 3));
}

std::string UpdateLine(const v1::Status& status, bool is_skipped) {
  const std::string figures =
      is_skipped ? absl::StrCat("reward ", Figure(status.has_reward_mean(), status.reward_mean(), 3),
                                ", skipped: all rewards of each group were equal")
                 : LastUpdate(status, ", ");
  return absl::StrFormat("update %d of %d: %s, %s", status.update(), status.updates_total(), figures, Times(status));
}

// "update 41" once groups of those rewards are trained on; "" when they are already.
std::string FromUpdate(const v1::Status& status) {
  const uint64_t from = status.reward_spec().from_update();
  return from > status.update() + 1 ? absl::StrCat(", effective from update ", from, " on") : "";
}

// Of a learner of several: "rank 1   ready, 12.3 rows/s, cuda:0 at 10.0.0.2"; why one is lost is among the warnings.
void AddRanks(const v1::Status& status, PanelLines& lines) {
  for (int i = 0; i < status.ranks_size() && static_cast<size_t>(i) < kMostRanks; ++i) {
    const v1::RankStatus& rank = status.ranks(i);
    const bool is_ready = rank.state() == v1::RankStatus::READY, is_lost = rank.state() == v1::RankStatus::LOST;
    std::string line = absl::StrCat("  rank ", rank.rank(), is_ready ? "   ready" : is_lost ? "   lost" : "   joining");
    if (is_ready && rank.rows_per_s() > 0) absl::StrAppendFormat(&line, ", %.3g rows/s", rank.rows_per_s());
    if (rank.devices_size() > 0)
      absl::StrAppend(&line, ", ", DeviceListText({rank.devices().begin(), rank.devices().end()}));
    if (!rank.address().empty()) absl::StrAppend(&line, " at ", rank.address());
    if (!is_lost && !rank.message().empty()) absl::StrAppend(&line, ": ", rank.message());
    lines.Add(std::move(line), is_lost ? Tone::kBad : is_ready ? Tone::kPlain : Tone::kWarning);
  }
  if (const int more = status.ranks_size() - static_cast<int>(kMostRanks); more > 0)
    lines.Add(absl::StrCat("  and ", more, " more ranks"));
}

std::string DescribeShadow(const v1::ShadowReward& shadow) {
  if (shadow.groups() == 0) return absl::StrCat(shadow.scorer(), ": no group could be compared yet");
  return absl::StrFormat("%s: rank correlation %.2f with what is trained on, another best sample in %.0f%% of %d groups",
                         shadow.scorer(), shadow.rank_correlation(), 100 * shadow.best_differs(), shadow.groups());
}

}  // namespace

std::string PhaseName(v1::RunPhase phase) {
  switch (phase) {
    case v1::STARTING:
      return "starting";
    case v1::EVALUATING_BASE:
      return "evaluating the base model";
    case v1::RUNNING:
      return "running";
    case v1::PAUSED:
      return "paused";
    case v1::EVALUATING_FINAL:
      return "evaluating the result";
    case v1::FINISHED:
      return "finished";
    case v1::FAILED:
      return "failed";
    default:
      return "unknown";
  }
}

std::string FormatDuration(double seconds) {
  const int64_t whole = std::isfinite(seconds) && seconds > 0 ? static_cast<int64_t>(std::min(seconds, 1e12)) : 0;
  if (whole < 3600) return absl::StrFormat("%d:%02d", whole / 60, whole % 60);
  return absl::StrFormat("%d:%02d:%02d", whole / 3600, whole / 60 % 60, whole % 60);
}

std::string DescribeEvaluation(const v1::EvaluationSummary& evaluation) {
  std::string text = absl::StrCat("reward ", Figure(evaluation.has_reward_mean(), evaluation.reward_mean(), 3));
  if (evaluation.has_reward_stderr()) absl::StrAppendFormat(&text, " ± %.3f", evaluation.reward_stderr());
  if (evaluation.has_exact_share()) absl::StrAppendFormat(&text, ", exact %.1f%%", 100 * evaluation.exact_share());
  return text;
}

std::string DescribeRewardSpec(const v1::RewardSpec& spec) {
  std::vector<std::string> terms;
  for (const v1::RewardSpecTerm& term : spec.terms()) {
    std::vector<std::string> notes;
    if (IsShadow(term)) {
      notes.push_back("shadow");
    } else if (!term.is_required()) {
      notes.push_back("optional");
    }
    if (term.max_drop() > 0) notes.push_back(absl::StrCat("max_drop ", term.max_drop()));
    terms.push_back(absl::StrCat(term.scorer(), " weight ", term.weight(),
                                 term.endpoint().empty() ? "" : absl::StrCat(" at ", term.endpoint()),
                                 notes.empty() ? "" : absl::StrCat(" (", absl::StrJoin(notes, ", "), ")")));
  }
  return absl::StrCat("version ", spec.version(), ": ", terms.empty() ? "no reward" : absl::StrJoin(terms, ", "));
}

std::vector<std::string> RenderPanel(const v1::Status& status, int width, const PanelStyle& style) {
  width = std::max(width, kLeastWidth);
  const int bar = std::clamp(width - 30, 6, kWidestBar);
  PanelLines lines;
  const Tone tone = ToneOf(status.phase());
  lines.Add(Ends(absl::StrCat(status.name(), "  ", PhaseName(status.phase())), Times(status), width), tone);
  if (!status.message().empty()) lines.Add(absl::StrCat("  ", status.message()), tone == Tone::kStrong ? Tone::kDim : tone);
  lines.Add(absl::StrFormat("  updates  %s %d of %d", Bar(status.update(), status.updates_total(), bar), status.update(),
                            status.updates_total()));
  if (status.evaluation_groups_total() > 0) {
    lines.Add(absl::StrFormat("  held-out %s %d of %d",
                              Bar(status.evaluation_groups(), status.evaluation_groups_total(), bar),
                              status.evaluation_groups(), status.evaluation_groups_total()));
  }
  if (status.phase() == v1::RUNNING) {
    lines.Add(absl::StrFormat("  batch    %d groups in, %d being made, %.2f groups/s", status.batch_groups(),
                              status.open_leases(), status.groups_per_s()));
  }
  if (status.update() > 0) lines.Add(absl::StrCat("  training ", LastUpdate(status, "   ")));
  if (style.trend != nullptr && !style.trend->empty())
    lines.Add(DescribeTrend(*style.trend, std::clamp(width - 60, 8, kWidestTrend)), ToneOf(*style.trend));
  if (status.has_base()) lines.Add(absl::StrCat("  base     held-out ", DescribeEvaluation(status.base())));
  if (status.has_latest() && status.latest().update() > 0) {
    lines.Add(absl::StrCat("  now      held-out ", DescribeEvaluation(status.latest()), " (update ",
                           status.latest().update(), ")"),
              ToneOfGain(status));
  }
  if (status.reward_spec().version() > 1)  // replaced: the figures before and after are of different rewards
    lines.Add(absl::StrCat("  rewards  ", DescribeRewardSpec(status.reward_spec()), FromUpdate(status),
                           "; earlier figures are of others"));
  for (const v1::ShadowReward& shadow : status.shadows()) lines.Add(absl::StrCat("  shadow   ", DescribeShadow(shadow)));
  lines.Add(absl::StrFormat("  samples  %d accepted, %d trained on%s", status.samples_accepted(),
                            status.samples_trained(), Dropped(status)));
  for (const std::string& warning : status.warnings()) lines.Add(absl::StrCat("  warning: ", warning), Tone::kWarning);
  AddRanks(status, lines);
  for (int i = 0; i < status.actors_size() && static_cast<size_t>(i) < kMostActors; ++i) {
    const v1::ActorStatus& actor = status.actors(i);
    const double silence = actor.seconds_since_seen();
    std::string line =
        absl::StrFormat("  %-8s %d groups, version %d", actor.actor_id(), actor.groups(), actor.adopted_version());
    if (silence >= kSilenceSeconds) absl::StrAppendFormat(&line, ", silent for %.0f s", silence);
    lines.Add(std::move(line), silence >= kLostSeconds      ? Tone::kBad
                               : silence >= kSilenceSeconds ? Tone::kWarning
                                                            : Tone::kPlain);
  }
  if (const int more = status.actors_size() - static_cast<int>(kMostActors); more > 0)
    lines.Add(absl::StrCat("  and ", more, " more actors"));
  return lines.Wrapped(width, style.has_colour);
}

std::vector<std::string> ProgressLines::Next(const v1::Status& status) {
  std::vector<std::string> lines;
  const v1::Status before = last_.value_or(v1::Status());
  // The figures of an update made before this process looked are not known.
  if (last_ && status.update() > before.update())
    lines.push_back(UpdateLine(status, status.updates_skipped() > before.updates_skipped()));
  for (const std::string& warning : status.warnings())
    if (std::find(before.warnings().begin(), before.warnings().end(), warning) == before.warnings().end())
      lines.push_back(absl::StrCat("warning: ", warning));
  if (status.reward_spec().version() != before.reward_spec().version() && before.reward_spec().version() != 0)
    lines.push_back(absl::StrCat("rewards from ", status.reward_spec().from_update() > status.update()
                                                      ? absl::StrCat("update ", status.reward_spec().from_update())
                                                      : "here",
                                 " on: ", DescribeRewardSpec(status.reward_spec())));
  if (status.has_base() && !before.has_base())
    lines.push_back(absl::StrCat("base model, held-out: ", DescribeEvaluation(status.base())));
  if (status.has_latest() && status.latest().update() > before.latest().update()) {
    lines.push_back(
        absl::StrCat("update ", status.latest().update(), ", held-out: ", DescribeEvaluation(status.latest())));
  }
  if (status.phase() != before.phase()) {
    lines.push_back(absl::StrCat(PhaseName(status.phase()), status.message().empty() ? "" : ": ", status.message()));
  }
  last_ = status;
  return lines;
}

}  // namespace flowawr
