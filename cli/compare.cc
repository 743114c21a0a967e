#include "cli/compare.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "cli/report_style.h"
#include "cli/svg_chart.h"
#include "cli/text_lines.h"
#include "common/base/utf8.h"
#include "common/base/version.h"
#include "common/telemetry/message_json.h"

namespace flowawr {
namespace {

using Json = nlohmann::ordered_json;
using Row = std::vector<std::string>;

constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();
constexpr size_t kMostValueBytes = 60;

std::string Figure(const std::optional<double>& value) { return value ? absl::StrFormat("%.3f", *value) : "missing"; }

std::string Seconds(const std::optional<double>& value) { return value ? absl::StrFormat("%.0f s", *value) : "–"; }

// Of the run's training up to `update`; nullopt: not recorded.
std::optional<uint64_t> ImagesAt(const RunHistory& history, uint64_t update) {
  if (update == 0) return 0;
  std::optional<uint64_t> images;
  for (const UpdateRecord& record : history.updates)
    if (record.update <= update) images = record.samples_trained;
  return images;
}

const EvaluationRecord* Newest(const RunHistory& history) {
  return history.evaluations.empty() ? nullptr : &history.evaluations.back();
}

// "0.953 ± 0.011"; of a run that has not come to its end with the update.
std::string HeldOut(const EvaluationRecord* record) {
  if (record == nullptr) return "–";
  std::string text = Figure(record->reward_mean);
  if (record->reward_stderr) absl::StrAppendFormat(&text, " ± %.3f", *record->reward_stderr);
  if (record->update > 0 && !record->is_final) absl::StrAppend(&text, " (update ", record->update, ", not final)");
  return text;
}

void Flatten(const std::string& path, const Json& value, std::map<std::string, std::string>* fields) {
  if (value.is_object() && !value.empty()) {
    for (const auto& [key, inner] : value.items())
      Flatten(path.empty() ? key : absl::StrCat(path, ".", key), inner, fields);
  } else if (value.is_array() && !value.empty() && value.front().is_object()) {
    for (size_t i = 0; i < value.size(); ++i) Flatten(absl::StrCat(path, "[", i, "]"), value[i], fields);
  } else {
    (*fields)[path] = TruncateUtf8(value.is_string() ? value.get<std::string>() : value.dump(), kMostValueBytes);
  }
}

bool IsOfThePlace(absl::string_view field) { return field == "name" || field == "run_dir"; }

// A heading and a row for each run.
struct Table {
  Row heading;
  std::vector<Row> rows;
};

Row Figures(const ComparedRun& run) {
  const RunHistory& history = run.history;
  const UpdateRecord* last = history.updates.empty() ? nullptr : &history.updates.back();
  const EvaluationRecord* newest = Newest(history);
  return {run.name,
          last == nullptr ? "0" : absl::StrCat(last->update),
          last == nullptr ? "0" : absl::StrCat(last->samples_trained),
          last == nullptr ? "–" : Seconds(last->elapsed_s),
          history.base_evaluation() == nullptr ? "–" : Figure(history.base_evaluation()->reward_mean),
          HeldOut(newest),
          newest != nullptr && newest->exact_share ? absl::StrFormat("%.1f%%", 100 * *newest->exact_share) : "–"};
}

Table FiguresTable(const std::vector<ComparedRun>& runs) {
  Table table{.heading = {"Run", "Updates", "Images", "Training", "Base", "Held out", "Exact"}};
  for (const ComparedRun& run : runs) table.rows.push_back(Figures(run));
  return table;
}

std::string Needed(const std::optional<Reached>& reached) {
  if (!reached) return "not reached";
  return absl::StrCat("update ", reached->update, ", ",
                      reached->images ? absl::StrCat(*reached->images, " images, ") : "", Seconds(reached->seconds));
}

// Apart from the figures: of two thresholds, both tables fit into the 80 columns of a terminal.
Table NeedsTable(const std::vector<ComparedRun>& runs, const std::vector<double>& thresholds) {
  Table table{.heading = {"Run"}};
  for (const double threshold : thresholds) table.heading.push_back(absl::StrFormat("To %.3g", threshold));
  for (const ComparedRun& run : runs) {
    Row& row = table.rows.emplace_back(Row{run.name});
    for (const double threshold : thresholds) row.push_back(Needed(FirstReached(run.history, threshold)));
  }
  return table;
}

std::vector<std::string> Notes(const std::vector<ComparedRun>& runs) {
  std::vector<std::string> notes;
  if (!HaveSameRewards(runs)) {
    std::vector<std::string> rewards;
    for (const ComparedRun& run : runs) {
      const std::string of = RewardsOf(run);
      rewards.push_back(absl::StrCat(run.name, ": ", of.empty() ? "not known" : of));
    }
    const bool is_known = std::all_of(runs.begin(), runs.end(), [](const ComparedRun& run) { return !RewardsOf(run).empty(); });
    notes.push_back(absl::StrCat(is_known ? "These runs are not trained on the same rewards, so their figures are not of the same thing: "
                                          : "It is not known whether these runs are trained on the same rewards: ",
                                 absl::StrJoin(rewards, "; ")));
  }
  for (const ComparedRun& run : runs)
    for (const std::string& note : run.history.notes) notes.push_back(absl::StrCat(run.name, ": ", note));
  return notes;
}

enum class XAxis { kUpdate, kImages, kSeconds };

std::optional<double> XOf(XAxis axis, const RunHistory& history, uint64_t update, const std::optional<double>& elapsed) {
  if (axis == XAxis::kUpdate) return static_cast<double>(update);
  if (axis == XAxis::kSeconds) return elapsed;
  const std::optional<uint64_t> images = ImagesAt(history, update);
  return images ? std::optional(static_cast<double>(*images)) : std::nullopt;
}

std::string HeldOutChart(const std::vector<ComparedRun>& runs, XAxis axis, const std::string& label) {
  std::vector<ChartSeries> series;
  for (size_t i = 0; i < runs.size(); ++i) {
    ChartSeries& one = series.emplace_back(ChartSeries{runs[i].name, static_cast<int>(i) + 1, true, {}});
    for (const EvaluationRecord& record : runs[i].history.evaluations)
      if (const std::optional<double> x = XOf(axis, runs[i].history, record.update, record.elapsed_s))
        one.points.push_back({*x, record.reward_mean.value_or(kMissing), record.reward_stderr});
  }
  return LineChart({absl::StrCat("Held-out reward by ", label), label, axis == XAxis::kUpdate ? 1060 : 520,
                    axis == XAxis::kUpdate ? 340 : 260, std::nullopt},
                   series);
}

std::string UpdateChart(const std::vector<ComparedRun>& runs, const std::string& title,
                        std::optional<double> UpdateRecord::*field) {
  std::vector<ChartSeries> series;
  for (size_t i = 0; i < runs.size(); ++i) {
    ChartSeries& one = series.emplace_back(ChartSeries{runs[i].name, static_cast<int>(i) + 1, false, {}});
    for (const UpdateRecord& record : runs[i].history.updates)
      if (record.*field) one.points.push_back({static_cast<double>(record.update), *(record.*field), std::nullopt});
  }
  return absl::StrCat(R"(<div class="card"><h3>)", title, "</h3>",
                      LineChart({absl::StrCat(title, " by update"), "update", 520, 260, std::nullopt}, series),
                      "</div>");
}

std::string HtmlTable(const Table& table) {
  std::string html = R"(<div class="card scroll"><table><tr>)";
  for (const std::string& cell : table.heading) absl::StrAppend(&html, "<th>", HtmlEscape(cell), "</th>");
  absl::StrAppend(&html, "</tr>");
  for (const Row& row : table.rows) {
    absl::StrAppend(&html, "<tr>");
    for (const std::string& cell : row) absl::StrAppend(&html, "<td>", HtmlEscape(cell), "</td>");
    absl::StrAppend(&html, "</tr>");
  }
  return absl::StrCat(html, "</table></div>");
}

std::string TextTable(const Table& table) {
  // Names and values are of others: nothing in them may move the terminal's cursor.
  const auto clean = [](const std::string& cell) {
    const std::vector<std::string> lines = WrapText(cell, 1000, 0);
    return lines.empty() ? std::string() : lines.front();
  };
  std::vector<int> widths;
  const auto measure = [&](const Row& row) {
    for (size_t i = 0; i < row.size(); ++i) {
      if (widths.size() <= i) widths.push_back(0);
      widths[i] = std::max(widths[i], DisplayColumns(clean(row[i])));
    }
  };
  measure(table.heading);
  for (const Row& row : table.rows) measure(row);
  std::string text;
  const auto print = [&](const Row& row) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string cell = clean(row[i]);
      absl::StrAppend(&line, cell, std::string(i + 1 == row.size() ? 0 : widths[i] - DisplayColumns(cell) + 2, ' '));
    }
    absl::StrAppend(&text, line, "\n");
  };
  print(table.heading);
  for (const Row& row : table.rows) print(row);
  return text;
}

// A row for each of DifferingSettings().
Table SettingsTable(const std::vector<ComparedRun>& runs) {
  Table table{.heading = {"Setting"}};
  for (const ComparedRun& run : runs) table.heading.push_back(run.name);
  for (const DifferingSetting& setting : DifferingSettings(runs)) {
    Row& row = table.rows.emplace_back(Row{setting.field});
    for (const std::string& value : setting.values) row.push_back(value.empty() ? "–" : value);
  }
  return table;
}

}  // namespace

std::optional<Reached> FirstReached(const RunHistory& history, double reward) {
  for (const EvaluationRecord& record : history.evaluations)
    if (record.reward_mean && *record.reward_mean >= reward)
      return Reached{record.update, ImagesAt(history, record.update), record.elapsed_s};
  return std::nullopt;
}

std::vector<double> DefaultThresholds(const std::vector<ComparedRun>& runs) {
  if (!HaveSameRewards(runs)) return {};
  std::optional<double> base, best;
  for (const ComparedRun& run : runs)
    for (const EvaluationRecord& record : run.history.evaluations) {
      if (!record.reward_mean) continue;
      if (record.update == 0) base = std::min(base.value_or(*record.reward_mean), *record.reward_mean);
      best = std::max(best.value_or(*record.reward_mean), *record.reward_mean);
    }
  if (!base || !best || *best - *base < 1e-3) return {};
  std::vector<double> thresholds;
  for (const double share : {0.5, 0.9}) thresholds.push_back(std::round(1000 * (*base + share * (*best - *base))) / 1000);
  return thresholds;
}

std::string RewardsOf(const ComparedRun& run) {
  if (!run.config) return "";
  std::vector<std::string> terms;
  for (const v1::RewardTerm& term : run.config->rewards().terms())
    terms.push_back(absl::StrCat(term.scorer(), term.kind().empty() ? "" : absl::StrCat(" (", term.kind(), ")"),
                                 " weight ", term.weight()));
  if (terms.size() > 1) terms.push_back(v1::Combination_Name(run.config->rewards().combination()));
  std::string text = absl::StrJoin(terms, ", ");
  for (const RewardSwap& swap : run.history.swaps)
    absl::StrAppend(&text, "; after update ", swap.update, " ", swap.to);
  return text;
}

bool HaveSameRewards(const std::vector<ComparedRun>& runs) {
  return std::all_of(runs.begin(), runs.end(), [&](const ComparedRun& run) {
    const std::string rewards = RewardsOf(run);
    return !rewards.empty() && rewards == RewardsOf(runs.front());
  });
}

std::vector<DifferingSetting> DifferingSettings(const std::vector<ComparedRun>& runs) {
  std::vector<std::map<std::string, std::string>> fields(runs.size());
  std::set<std::string> names;
  for (size_t i = 0; i < runs.size(); ++i) {
    if (!runs[i].config) continue;
    Flatten("", MessageAsJson(*runs[i].config), &fields[i]);
    for (const auto& [name, value] : fields[i]) names.insert(name);
  }
  std::vector<DifferingSetting> differing;
  for (const std::string& name : names) {
    if (IsOfThePlace(name)) continue;
    DifferingSetting setting{name, {}};
    std::set<std::string> different;
    for (size_t i = 0; i < runs.size(); ++i) {
      const auto found = fields[i].find(name);
      setting.values.push_back(found == fields[i].end() ? "" : found->second);
      if (runs[i].config) different.insert(setting.values.back());
    }
    if (different.size() > 1) differing.push_back(std::move(setting));
  }
  return differing;
}

std::vector<std::string> DistinctNames(const std::vector<std::string>& folders) {
  std::vector<std::vector<std::string>> parts;
  size_t longest = 1;
  for (const std::string& folder : folders) {
    parts.push_back(absl::StrSplit(folder, '/', absl::SkipEmpty()));
    std::erase(parts.back(), ".");
    longest = std::max(longest, parts.back().size());
  }
  std::vector<std::string> names;
  for (size_t depth = 1; depth <= longest; ++depth) {
    names.clear();
    for (size_t i = 0; i < folders.size(); ++i) {
      const size_t begin = parts[i].size() - std::min(depth, parts[i].size());
      names.push_back(parts[i].empty() ? folders[i]
                                       : absl::StrJoin(parts[i].begin() + begin, parts[i].end(), "/"));
    }
    if (std::set<std::string>(names.begin(), names.end()).size() == names.size()) break;
  }
  return names;
}

std::string CompareAsText(const std::vector<ComparedRun>& runs, const std::vector<double>& thresholds) {
  std::string text = TextTable(FiguresTable(runs));
  if (!thresholds.empty()) absl::StrAppend(&text, "\n", TextTable(NeedsTable(runs, thresholds)));
  const Table settings = SettingsTable(runs);
  if (!settings.rows.empty()) absl::StrAppend(&text, "\n", TextTable(settings));
  for (const std::string& note : Notes(runs)) {
    absl::StrAppend(&text, "\n");
    for (const std::string& line : WrapText(note, 100, 2)) absl::StrAppend(&text, line, "\n");
  }
  return text;
}

std::string CompareAsHtml(const std::vector<ComparedRun>& runs, const std::vector<double>& thresholds) {
  std::string notes;
  for (const std::string& note : Notes(runs)) absl::StrAppend(&notes, "<p>", HtmlEscape(note), "</p>");
  if (!notes.empty()) notes = absl::StrCat(R"(<div class="card notes">)", notes, "</div>");
  std::string needs;
  if (!thresholds.empty())
    needs = absl::StrCat("<h2>What each needed</h2><p class=\"sub\">The first evaluation at or above a held-out reward; "
                         "training time includes evaluations.</p>",
                         HtmlTable(NeedsTable(runs, thresholds)));
  const Table settings = SettingsTable(runs);
  return absl::StrCat(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width,initial-scale=1\"><title>flowawr: runs compared</title><style>",
      kReportStyle, "</style></head>\n<body><main><h1>", runs.size(), " runs compared</h1><p class=\"sub\">flowawr ",
      HtmlEscape(Version()), "</p>", notes,
      "<h2>What each reached</h2>", HtmlTable(FiguresTable(runs)), needs,
      "<h2>Held-out reward</h2><div class=\"card scroll\"><h3>By update</h3>",
      HeldOutChart(runs, XAxis::kUpdate, "update"), "</div><div class=\"columns spaced\"><div class=\"card\"><h3>By images trained on</h3>",
      HeldOutChart(runs, XAxis::kImages, "images"), "</div><div class=\"card\"><h3>By training time</h3>",
      HeldOutChart(runs, XAxis::kSeconds, "seconds"), "</div></div><h2>Training</h2><div class=\"columns two\">",
      UpdateChart(runs, "Reward of the batches", &UpdateRecord::reward_mean), UpdateChart(runs, "Loss", &UpdateRecord::loss),
      UpdateChart(runs, "KL to the reference", &UpdateRecord::kl),
      UpdateChart(runs, "Gradient norm before clipping", &UpdateRecord::grad_norm), "</div><h2>Settings that differ</h2>",
      settings.rows.empty() ? std::string("<p class=\"sub\">None.</p>") : HtmlTable(settings), "</main></body></html>\n");
}

}  // namespace flowawr
