#include "cli/report.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/report_style.h"
#include "cli/summary.h"
#include "cli/svg_chart.h"
#include "common/base/file.h"
#include "common/base/last_name.h"
#include "common/base/status.h"
#include "common/base/version.h"

namespace flowawr {
namespace {

constexpr size_t kPairsShown = 48, kStripsShown = 8, kEvaluationsShown = 500, kMostScorers = 32;
constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();
constexpr int kSmallPicture = 160;  // narrower ones are enlarged without blurring

std::string Duration(double seconds) {
  if (seconds < 60) return absl::StrFormat("%.3g s", std::max(seconds, 0.0));
  const int64_t whole = std::llround(std::min(seconds, 1e12));
  if (whole < 3600) return absl::StrFormat("%d min %02d s", whole / 60, whole % 60);
  return absl::StrFormat("%d h %02d min", whole / 3600, whole / 60 % 60);
}

std::string Grouped(uint64_t count) {
  std::string digits = absl::StrCat(count);
  for (int at = static_cast<int>(digits.size()) - 3; at > 0; at -= 3) digits.insert(at, "\u202f");
  return digits;
}

std::string Figure(const std::optional<double>& value) {
  return value.has_value() ? absl::StrFormat("%.3f", *value) : "missing";
}

std::string Percent(const std::optional<double>& value) {
  return value.has_value() ? absl::StrFormat("%.1f %%", 100 * *value) : "–";
}

// `size`: large or small.
std::string Tile(absl::string_view size, absl::string_view name, absl::string_view value, absl::string_view more) {
  return absl::StrCat(R"(<div class="card tile )", size, R"("><div class="name">)", name,
                      R"(</div><div class="value">)", value, R"(</div><div class="more">)", more, "</div></div>");
}

// "0.521 → 0.953", the base's figure smaller.
std::string BeforeAndAfter(const std::string& base, const std::string& final) {
  return absl::StrCat("<small>", base, " →</small> ", final);
}

std::string StandardError(const EvaluationRecord* record) {
  return record != nullptr && record->reward_stderr.has_value() ? absl::StrFormat("± %.3f", *record->reward_stderr)
                                                                : std::string("not known");
}

// "trained" for the run's last word, "update 40" for what may change yet.
std::string NameOfLatest(const EvaluationRecord* latest) {
  if (latest == nullptr) return "trained";
  return latest->is_final ? absl::StrCat("trained, after update ", Grouped(latest->update))
                          : absl::StrCat("update ", Grouped(latest->update), ", not the final one");
}

// Rewards of other specs are other quantities: no figure leads from one to the other.
bool AreComparable(const EvaluationRecord* base, const EvaluationRecord* latest) {
  return base == nullptr || latest == nullptr || base->rewards_version == 0 || latest->rewards_version == 0 ||
         base->rewards_version == latest->rewards_version;
}

std::string RewardTile(const EvaluationRecord* base, const EvaluationRecord* latest) {
  const auto figure = [](const EvaluationRecord* record) {
    return record == nullptr ? std::string("–") : Figure(record->reward_mean);
  };
  if (!AreComparable(base, latest))
    return Tile("large", "Held-out reward, of the new rewards", figure(latest),
                absl::StrCat(NameOfLatest(latest), "; standard error ", StandardError(latest),
                             ". The base was measured by other rewards: ", figure(base), " there"));
  return Tile("large", "Held-out reward", BeforeAndAfter(figure(base), figure(latest)),
              absl::StrCat("base → ", NameOfLatest(latest), "; standard errors ", StandardError(base), " and ",
                           StandardError(latest)));
}

// Only rule rewards know which images are exact.
std::string ExactTile(const EvaluationRecord* base, const EvaluationRecord* latest) {
  const auto share = [](const EvaluationRecord* record) {
    return record == nullptr ? std::nullopt : record->exact_share;
  };
  if (!share(base).has_value() && !share(latest).has_value()) return "";
  if (!AreComparable(base, latest) && !share(latest).has_value()) return "";
  const EvaluationRecord& counted = latest != nullptr ? *latest : *base;
  return Tile("large", "Held-out images exactly right",
              AreComparable(base, latest) ? BeforeAndAfter(Percent(share(base)), Percent(share(latest)))
                                          : Percent(share(latest)),
              absl::StrCat("of ", Grouped(counted.images), " images", latest != nullptr ? " each" : ""));
}

std::string Headline(const RunHistory& history) {
  const EvaluationRecord *base = history.base_evaluation(), *latest = history.latest_evaluation();
  std::string html = absl::StrCat(R"(<div class="tiles">)", RewardTile(base, latest), ExactTile(base, latest));
  if (!history.updates.empty()) {
    const UpdateRecord& update = history.updates.back();
    absl::StrAppend(
        &html,
        Tile("small", "Updates", Grouped(update.update),
             history.updates_skipped == 0
                 ? "none skipped"
                 : absl::StrCat(Grouped(history.updates_skipped), " skipped: all-equal groups")),
        Tile("small", "Images trained on", Grouped(update.samples_trained),
             update.elapsed_s.value_or(0) > 0
                 ? absl::StrFormat("%.0f a second", update.samples_trained / *update.elapsed_s)
                 : std::string()),
        Tile("small", "Training time", update.elapsed_s.has_value() ? Duration(*update.elapsed_s) : "–",
             "evaluations included, over all resumes"));
  }
  return absl::StrCat(html, "</div>");
}

std::string Notes(const RunHistory& history) {
  std::string paragraphs;
  if (history.final_evaluation() == nullptr)
    absl::StrAppend(&paragraphs,
                    "<p>The run has not been evaluated after its training yet: this is its state so far.</p>");
  if (!history.end.reason.empty())
    absl::StrAppend(&paragraphs, "<p>The run ended before its last update: ", HtmlEscape(history.end.reason), ".</p>");
  for (const std::string& warning : history.end.warnings)
    absl::StrAppend(&paragraphs, "<p>At the end ", HtmlEscape(warning), ".</p>");
  for (const RewardSwap& swap : history.swaps)
    absl::StrAppend(&paragraphs, "<p>After update ", Grouped(swap.update), " the rewards were replaced: ",
                    HtmlEscape(swap.from), " → ", HtmlEscape(swap.to),
                    ". Figures before and after are not of the same thing.</p>");
  for (const std::string& note : history.notes) absl::StrAppend(&paragraphs, "<p>", HtmlEscape(note), "</p>");
  if (paragraphs.empty()) return "";
  return absl::StrCat(R"(<div class="card notes">)", paragraphs, "</div>");
}

std::string PictureFigure(const Picture& picture, absl::string_view when) {
  std::string title, caption;
  for (const auto& [key, value] : picture.details) absl::StrAppend(&title, title.empty() ? "" : "\n", key, ": ", value);
  if (const auto text = picture.details.find("text"); text != picture.details.end()) {
    // The mark is the scorer's own word, not a guess from prompt and text: a target may come from elsewhere.
    const auto exact = picture.details.find("exact");
    const absl::string_view told = exact == picture.details.end() ? "" : exact->second;
    const absl::string_view mark = told == "true" ? "✓ " : told == "false" ? "✗ " : "";
    absl::StrAppend(&caption, R"(<span class="read mono )",
                    told == "true"    ? "match"
                    : told == "false" ? "mismatch"
                                      : "",
                    R"(">)", mark, text->second.empty() ? "nothing" : HtmlEscape(text->second), "</span><br>");
  }
  absl::StrAppend(&caption, when);
  absl::StrAppend(&caption, " · ", picture.reward.has_value() ? absl::StrFormat("%.2f", *picture.reward) : "missing");
  return absl::StrCat(R"(<figure title=")", HtmlEscape(title), R"("><img)",
                      picture.width < kSmallPicture ? R"( class="small")" : "", " width=\"", picture.width,
                      "\" height=\"", picture.height, "\" alt=\"", when, ": ", HtmlEscape(picture.prompt),
                      R"(" src="data:image/png;base64,)", absl::Base64Escape(picture.png), R"("><figcaption>)", caption,
                      "</figcaption></figure>");
}

std::string Pictures(const RunHistory& history) {
  std::set<std::string> names;
  for (const auto& [name, picture] : history.base_pictures) names.insert(name);
  for (const auto& [name, picture] : history.final_pictures) names.insert(name);
  std::string html = "<h2>Before and after</h2>";
  if (names.empty()) return absl::StrCat(html, R"(<p class="sub">No pictures yet.</p>)");
  absl::StrAppend(
      &html,
      "<p class=\"sub\">Held-out prompts, each pair from the same initial noise. Below each: what the scorer read, and "
      "the reward. ",
      names.size() > kPairsShown ? absl::StrCat("The first ", kPairsShown, " of ", names.size(), ", not chosen.")
                                 : absl::StrCat("All ", names.size(), " that were kept."),
      R"(</p><div class="pairs">)");
  const uint64_t final_update = history.final_pictures.empty() ? 0 : history.final_pictures.begin()->second.update;
  const std::string final_name = final_update > 0 ? absl::StrCat("update ", final_update) : "after";
  size_t shown = 0;
  for (const std::string& name : names) {
    if (shown++ == kPairsShown) break;
    const auto base = history.base_pictures.find(name), final = history.final_pictures.find(name);
    const bool has_base = base != history.base_pictures.end(), has_final = final != history.final_pictures.end();
    const std::string prompt = HtmlEscape((has_base ? base : final)->second.prompt);
    absl::StrAppend(&html, R"(<div class="card pair"><h3 title=")", prompt, R"(">)", prompt, "</h3><div>",
                    has_base ? PictureFigure(base->second, "before") : "<figure></figure>",
                    has_final ? PictureFigure(final->second, final_name) : "", "</div></div>");
  }
  return absl::StrCat(html, "</div>");
}

// One row a prompt, from the base model to the newest evaluation.
std::string PicturesOverTime(const RunHistory& history) {
  if (history.pictures_between.empty()) return "";
  std::string html =
      "<h2>Over the updates</h2><p class=\"sub\">The same prompts from the same noise, at evaluations spread over the "
      "run.</p>";
  size_t rows = 0;
  for (const auto& [name, picture] : history.pictures_between.rbegin()->second) {
    if (rows++ == kStripsShown) break;
    const std::string prompt = HtmlEscape(picture.prompt);
    absl::StrAppend(&html, R"(<div class="card strip"><h3 title=")", prompt, R"(">)", prompt, "</h3><div>");
    const auto add = [&](const std::map<std::string, Picture>& pictures, const std::string& when) {
      if (const auto found = pictures.find(name); found != pictures.end())
        absl::StrAppend(&html, PictureFigure(found->second, when));
    };
    add(history.base_pictures, "before");
    for (const auto& [update, pictures] : history.pictures_between) add(pictures, absl::StrCat("update ", update));
    const auto last = history.final_pictures.find(name);
    if (last != history.final_pictures.end() && last->second.update > history.pictures_between.rbegin()->first)
      add(history.final_pictures, absl::StrCat("update ", last->second.update));
    absl::StrAppend(&html, "</div></div>");
  }
  return html;
}

ChartSeries UpdateSeries(const RunHistory& history, absl::string_view name, int colour,
                         std::optional<double> UpdateRecord::*field) {
  ChartSeries series{std::string(name), colour, false, {}};
  for (const UpdateRecord& update : history.updates)
    if ((update.*field).has_value())
      series.points.push_back({static_cast<double>(update.update), *(update.*field), std::nullopt});
  return series;
}

std::string ChartCard(absl::string_view title, const std::string& chart) {
  return absl::StrCat(R"(<div class="card"><h3>)", title, "</h3>", chart, "</div>");
}

std::string Curves(const RunHistory& history) {
  ChartSeries heldout{"held-out mean, with its standard error", 2, true, {}};
  for (const EvaluationRecord& record : history.evaluations)
    heldout.points.push_back(
        {static_cast<double>(record.update), record.reward_mean.value_or(kMissing), record.reward_stderr});
  ChartSeries training{"mean of the update's batch", 1, false, {}};
  for (const UpdateRecord& update : history.updates)  // a missing one is counted below the chart
    training.points.push_back({static_cast<double>(update.update), update.reward_mean.value_or(kMissing), {}});
  ChartAxes reward{"Reward by update", "update", 1060, 340, std::nullopt};
  for (const RewardSwap& swap : history.swaps)
    reward.marks.push_back({static_cast<double>(swap.update), absl::StrCat("now ", swap.to),
                            absl::StrCat("after update ", swap.update, ": from ", swap.from, " to ", swap.to)});
  const auto in_unit = [](const ChartPoint& point) { return std::isnan(point.y) || (point.y >= 0 && point.y <= 1); };
  if (std::all_of(heldout.points.begin(), heldout.points.end(), in_unit) &&
      std::all_of(training.points.begin(), training.points.end(), in_unit))
    reward.y_most = 1;  // the largest reward there is
  const auto small = [&](absl::string_view title, int colour, std::optional<double> UpdateRecord::*field) {
    return ChartCard(title,
                     LineChart({absl::StrCat(title, " by update"), "update", 360, 230, std::nullopt},
                               {UpdateSeries(history, title, colour, field)}));
  };
  return absl::StrCat("<h2>Reward</h2><div class=\"card scroll\">", LineChart(reward, {training, heldout}),
                      "</div><h2>Optimisation</h2><div class=\"columns\">", small("Loss", 3, &UpdateRecord::loss),
                      small("KL to the reference", 4, &UpdateRecord::kl),
                      small("Gradient norm before clipping", 5, &UpdateRecord::grad_norm), "</div>");
}

// Rewards that were tried beside those that are trained on.
std::string Shadows(const RunHistory& history) {
  if (history.shadows.empty()) return "";
  std::string html = absl::StrCat(
      "<h2>Shadow rewards</h2><p class=\"sub\">Scored and compared, not trained on: how they put a group's samples in "
      "order beside the trained reward, over the newest updates up to ",
      Grouped(history.shadows_update),
      ".</p><div class=\"card scroll\"><table><tr><th>Scorer</th><th>Rank correlation</th><th>Another best sample</th>"
      "<th>Groups compared</th></tr>");
  for (const auto& [scorer, shadow] : history.shadows)
    absl::StrAppend(&html, "<tr><td>", HtmlEscape(scorer), "</td><td>",
                    shadow.rank_correlation.has_value() ? Figure(shadow.rank_correlation) : "–", "</td><td>",
                    Percent(shadow.best_differs), "</td><td>", Grouped(shadow.groups), "</td></tr>");
  return absl::StrCat(html, "</table></div>");
}

std::string Share(double part, double total) {
  const double percent = total > 0 ? 100 * part / total : 0;
  return percent > 0 && percent < 1 ? "< 1 %" : absl::StrFormat("%.0f %%", percent);
}

std::string StageCard(absl::string_view title, int colour, const SecondsByStage& seconds) {
  if (seconds.empty()) return "";
  double total = 0;
  std::vector<std::pair<std::string, double>> stages;
  for (const auto& [stage, spent] : seconds) {
    if (!(spent >= 0)) continue;
    stages.emplace_back(stage, spent);
    total += spent;
  }
  std::stable_sort(stages.begin(), stages.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  std::vector<ChartBar> bars;
  for (const auto& [stage, spent] : stages)
    bars.push_back({stage, spent, absl::StrCat(Duration(spent), " · ", Share(spent, total))});
  return ChartCard(title, BarChart(title, colour, bars));
}

std::string Stages(const RunHistory& history) {
  const std::string cards = absl::StrCat(StageCard("Learner", 1, history.learner_seconds),
                                         StageCard("Actors, added up", 4, history.actor_seconds));
  if (cards.empty()) return "";
  return absl::StrCat("<h2>Where the time went</h2><div class=\"columns\">", cards, "</div>");
}

std::string Evaluations(const RunHistory& history) {
  std::set<std::string> scorers;
  bool has_exact = false;
  const bool has_swaps = !history.swaps.empty();
  for (const EvaluationRecord& record : history.evaluations) {
    has_exact |= record.exact_share.has_value();
    for (const auto& [scorer, mean] : record.by_scorer)
      if (scorers.size() < kMostScorers) scorers.insert(scorer);
  }
  const size_t left_out = history.evaluations.size() - std::min(history.evaluations.size(), kEvaluationsShown);
  std::string html = "<h2>Held-out evaluations</h2>";
  if (left_out > 0)
    absl::StrAppend(&html, "<p class=\"sub\">The last ", kEvaluationsShown, " of ", history.evaluations.size(), ".</p>");
  absl::StrAppend(&html,
                  "<div class=\"card scroll\"><table><tr><th>Update</th><th>Reward</th><th>Standard error</th>",
                  has_exact ? "<th>Exact</th>" : "", has_swaps ? "<th>Rewards version</th>" : "");
  for (const std::string& scorer : scorers) absl::StrAppend(&html, "<th>", HtmlEscape(scorer), "</th>");
  absl::StrAppend(&html, "<th>Images</th><th>After</th></tr>");
  for (size_t i = left_out; i < history.evaluations.size(); ++i) {
    const EvaluationRecord& record = history.evaluations[i];
    absl::StrAppend(&html, "<tr><td>", record.update == 0 ? std::string("base") : Grouped(record.update), "</td><td>",
                    Figure(record.reward_mean), "</td><td>",
                    record.reward_stderr.has_value() ? Figure(record.reward_stderr) : "–", "</td>");
    if (has_exact) absl::StrAppend(&html, "<td>", Percent(record.exact_share), "</td>");
    if (has_swaps) absl::StrAppend(&html, "<td>", record.rewards_version, "</td>");
    for (const std::string& scorer : scorers) {
      const auto mean = record.by_scorer.find(scorer);
      absl::StrAppend(&html, "<td>", mean == record.by_scorer.end() ? "–" : Figure(mean->second), "</td>");
    }
    absl::StrAppend(&html, "<td>", Grouped(record.images), "</td><td>",
                    record.elapsed_s.has_value() ? Duration(*record.elapsed_s) : "–", "</td></tr>");
  }
  return absl::StrCat(html, "</table></div>");
}

std::string Collapsed(absl::string_view title, absl::string_view text) {
  return absl::StrCat("<details class=\"card\"><summary>", title, "</summary><pre>", HtmlEscape(text),
                      "</pre></details>");
}

}  // namespace

std::string RenderReport(const RunHistory& history, const std::string& name, const std::string& summary_json) {
  const std::string title = HtmlEscape(name);
  return absl::StrCat(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width,initial-scale=1\"><title>",
      title, " – flowawr report</title><style>", kReportStyle, "</style></head>\n<body><main><h1>", title,
      "</h1><p class=\"sub\">FlowAWR training run",
      history.run_id.empty() ? "" : absl::StrCat(" <code>", HtmlEscape(history.run_id), "</code>"), " · flowawr ",
      HtmlEscape(Version()), "</p>\n", Headline(history), Notes(history), "\n", Pictures(history), "\n",
      PicturesOverTime(history), "\n", Curves(history), "\n", Shadows(history), "\n", Stages(history), "\n", Evaluations(history), "\n<h2>Details</h2>",
      Collapsed("Configuration (config.yaml)", history.config_yaml), Collapsed("Figures (summary.json)", summary_json),
      "</main></body></html>\n");
}

absl::Status WriteReport(const std::string& run_dir) {
  FLOWAWR_ASSIGN_OR_RETURN(const RunHistory history, ReadRunHistory(run_dir));
  const std::string summary =
      Summarise(history, run_dir).dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  FLOWAWR_RETURN_IF_ERROR(WriteFileAtomically(run_dir + "/summary.json", summary));
  const std::string name = LastName(std::filesystem::absolute(run_dir).string());
  return WriteFileAtomically(run_dir + "/report.html", RenderReport(history, name, summary));
}

}  // namespace flowawr
