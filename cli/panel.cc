#include "cli/panel.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace flowawr {
namespace {

constexpr int kLeastWidth = 20;
constexpr int kWidestBar = 40;
constexpr size_t kMostActors = 8;      // lines of the panel
constexpr double kSilenceSeconds = 5;  // of an actor, worth telling

bool StartsCharacter(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) != 0x80; }

// Text of one column a character is assumed, which holds for what the panel writes itself.
int Columns(absl::string_view text) {
  return static_cast<int>(std::count_if(text.begin(), text.end(), StartsCharacter));
}

std::string Fit(absl::string_view text, int width) {
  int columns = 0;
  size_t end = 0;
  for (; end < text.size(); ++end) {
    if (StartsCharacter(text[end]) && ++columns > width) break;
  }
  std::string fitting(text.substr(0, end));
  std::replace_if(
      fitting.begin(), fitting.end(), [](char c) { return c >= 0 && c < ' '; }, ' ');
  return fitting;
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
  const int gap = width - Columns(left) - Columns(right);
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

std::string UpdateLine(const v1::Status& status) {
  return absl::StrFormat("update %d of %d: reward %.3f, loss %.4f, kl %.5f, grad norm %.3f, %s", status.update(),
                         status.updates_total(), status.reward_mean(), status.loss(), status.kl(), status.grad_norm(),
                         Times(status));
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
  return absl::StrFormat("reward %.3f ± %.3f, exact %.1f%%", evaluation.reward_mean(), evaluation.reward_stderr(),
                         100 * evaluation.exact_share());
}

std::vector<std::string> RenderPanel(const v1::Status& status, int width) {
  width = std::max(width, kLeastWidth);
  const int bar = std::clamp(width - 30, 6, kWidestBar);
  std::vector<std::string> lines;
  lines.push_back(Ends(absl::StrCat(status.name(), "  ", PhaseName(status.phase())), Times(status), width));
  if (!status.message().empty()) lines.push_back(absl::StrCat("  ", status.message()));
  lines.push_back(absl::StrFormat("  updates  %s %d of %d", Bar(status.update(), status.updates_total(), bar),
                                  status.update(), status.updates_total()));
  if (status.evaluation_groups_total() > 0) {
    lines.push_back(absl::StrFormat("  held-out %s %d of %d",
                                    Bar(status.evaluation_groups(), status.evaluation_groups_total(), bar),
                                    status.evaluation_groups(), status.evaluation_groups_total()));
  }
  if (status.phase() == v1::RUNNING) {
    lines.push_back(absl::StrFormat("  batch    %d groups in, %d being made, %.2f groups/s", status.batch_groups(),
                                    status.open_leases(), status.groups_per_s()));
  }
  if (status.update() > 0) {
    lines.push_back(absl::StrFormat("  training reward %.3f   loss %.4f   kl %.5f   grad norm %.3f",
                                    status.reward_mean(), status.loss(), status.kl(), status.grad_norm()));
  }
  if (status.has_base()) lines.push_back(absl::StrCat("  base     held-out ", DescribeEvaluation(status.base())));
  if (status.has_latest() && status.latest().update() > 0) {
    lines.push_back(absl::StrCat("  now      held-out ", DescribeEvaluation(status.latest()), " (update ",
                                 status.latest().update(), ")"));
  }
  lines.push_back(absl::StrFormat("  samples  %d accepted, %d trained on%s", status.samples_accepted(),
                                  status.samples_trained(), Dropped(status)));
  for (int i = 0; i < status.actors_size() && static_cast<size_t>(i) < kMostActors; ++i) {
    const v1::ActorStatus& actor = status.actors(i);
    std::string line =
        absl::StrFormat("  %-8s %d groups, version %d", actor.actor_id(), actor.groups(), actor.adopted_version());
    if (actor.seconds_since_seen() >= kSilenceSeconds)
      absl::StrAppendFormat(&line, ", silent for %.0f s", actor.seconds_since_seen());
    lines.push_back(std::move(line));
  }
  if (const int more = status.actors_size() - static_cast<int>(kMostActors); more > 0)
    lines.push_back(absl::StrCat("  and ", more, " more actors"));
  for (std::string& line : lines) line = Fit(line, width);
  return lines;
}

std::vector<std::string> ProgressLines::Next(const v1::Status& status) {
  std::vector<std::string> lines;
  const v1::Status before = last_.value_or(v1::Status());
  // The figures of an update made before this process looked are not known.
  if (last_ && status.update() > before.update()) lines.push_back(UpdateLine(status));
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
