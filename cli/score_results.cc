#include "cli/score_results.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "cli/text_lines.h"
#include "common/base/utf8.h"
#include "common/scoring/reward_terms.h"

namespace flowawr {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kLeastText = 16;  // columns of a file's name and of a prompt

const v1::TermScore* ScoreOf(const PictureScore& picture, int term) {
  return picture.status.ok() && term < picture.scores.terms_size() ? &picture.scores.terms(term) : nullptr;
}

std::string Figure(std::optional<double> value) {
  return value.has_value() ? absl::StrFormat("%.3f", *value) : std::string("-");
}

std::optional<double> RewardOf(const PictureScore& picture, int term) {
  const v1::TermScore* score = ScoreOf(picture, term);
  return score != nullptr && score->has_reward() ? std::optional<double>(score->reward()) : std::nullopt;
}

// The first line of `text` in that many columns, filled up with blanks.
std::string Cell(const std::string& text, int width) {
  std::string cell = WrapText(text, width, 0)[0];
  const int columns = DisplayColumns(cell);
  if (columns < DisplayColumns(text) && columns > 3 && cell.size() > 3)
    cell = absl::StrCat(WrapText(text, width - 3, 0)[0], "...");
  return cell + std::string(std::max(width - DisplayColumns(cell), 0), ' ');
}

std::string CsvCell(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == text.npos) return text;
  return absl::StrCat("\"", absl::StrReplaceAll(text, {{"\"", "\"\""}}), "\"");
}

Json TermJson(const v1::TermScore& score) {
  Json json = {{"reward", score.has_reward() ? Json(score.reward()) : Json()}};
  if (score.has_error())
    json["error"] = {{"kind", v1::ScoreError::Kind_Name(score.error().kind())},
                     {"message", SanitizeUtf8(score.error().message())}};
  Json details = Json::object();
  std::vector<std::pair<std::string, std::string>> sorted(score.details().begin(), score.details().end());
  std::sort(sorted.begin(), sorted.end());
  for (const auto& [name, value] : sorted) details[SanitizeUtf8(name)] = SanitizeUtf8(value);
  if (!details.empty()) json["details"] = std::move(details);
  return json;
}

// Metadata that was JSON in its file is JSON again.
Json MetadataJson(const v1::Prompt& prompt) {
  Json json = Json::object();
  std::vector<std::pair<std::string, std::string>> sorted(prompt.metadata().begin(), prompt.metadata().end());
  std::sort(sorted.begin(), sorted.end());
  for (const auto& [name, value] : sorted) {
    Json parsed = Json::parse(value, nullptr, false);
    json[name] = parsed.is_structured() ? std::move(parsed) : Json(value);
  }
  return json;
}

}  // namespace

std::optional<double> CombinedReward(const v1::RewardSpec& spec, const PictureScore& picture) {
  double sum = 0;
  for (int term = 0; term < spec.terms_size(); ++term) {
    if (IsShadow(spec.terms(term))) continue;
    const std::optional<double> reward = RewardOf(picture, term);
    if (!reward.has_value()) return std::nullopt;
    sum += spec.terms(term).weight() * *reward;
  }
  return sum;
}

void SortByReward(const v1::RewardSpec& spec, std::vector<PictureScore>& pictures) {
  const auto key = [&spec](const PictureScore& picture) {
    return CombinedReward(spec, picture).value_or(-std::numeric_limits<double>::infinity());
  };
  std::sort(pictures.begin(), pictures.end(), [&](const PictureScore& a, const PictureScore& b) {
    const double reward_a = key(a), reward_b = key(b);
    return reward_a != reward_b ? reward_a > reward_b : a.name < b.name;
  });
}

std::string WhyNoReward(const v1::RewardSpec& spec, const PictureScore& picture) {
  if (!picture.status.ok()) return std::string(picture.status.message());
  for (int term = 0; term < spec.terms_size(); ++term) {
    if (IsShadow(spec.terms(term))) continue;
    const v1::TermScore* score = ScoreOf(picture, term);
    if (score == nullptr || !score->has_reward())
      return absl::StrCat(spec.terms(term).scorer(), ": ",
                          score == nullptr ? "not asked" : SanitizeUtf8(score->error().message()));
  }
  return "";
}

RewardSummary Summarise(const v1::RewardSpec& spec, const std::vector<PictureScore>& pictures, int term) {
  RewardSummary summary;
  double sum = 0, squares = 0;
  for (const PictureScore& picture : pictures) {
    const std::optional<double> reward = term < 0 ? CombinedReward(spec, picture) : RewardOf(picture, term);
    if (!reward.has_value()) continue;
    summary.least = summary.pictures == 0 ? *reward : std::min(summary.least, *reward);
    summary.most = summary.pictures == 0 ? *reward : std::max(summary.most, *reward);
    ++summary.pictures;
    sum += *reward;
    squares += *reward * *reward;
    if (term < 0) continue;
    const auto& details = ScoreOf(picture, term)->details();
    const auto exact = details.find("exact");
    if (exact == details.end()) continue;
    ++summary.judged_exact;
    summary.exact += exact->second == "true";
  }
  if (summary.pictures == 0) return summary;
  const auto count = static_cast<double>(summary.pictures);
  summary.mean = sum / count;
  summary.standard_deviation = std::sqrt(std::max(squares / count - summary.mean * summary.mean, 0.0));
  return summary;
}

std::string SummaryText(const v1::RewardSpec& spec, const std::vector<std::string>& versions,
                        const std::vector<PictureScore>& pictures) {
  std::string text;
  const auto add = [&](const std::string& name, int term, const std::string& more) {
    const RewardSummary summary = Summarise(spec, pictures, term);
    if (summary.pictures == 0) {
      absl::StrAppend(&text, name, ": no picture has a reward", more, "\n");
      return;
    }
    absl::StrAppendFormat(&text, "%s: mean %.4f, standard deviation %.4f, from %.4f to %.4f, %d pictures", name,
                          summary.mean, summary.standard_deviation, summary.least, summary.most, summary.pictures);
    if (summary.judged_exact > 0)
      absl::StrAppendFormat(&text, ", exact %.1f %%",
                            100 * static_cast<double>(summary.exact) / static_cast<double>(summary.judged_exact));
    absl::StrAppend(&text, more, "\n");
  };
  for (int term = 0; term < spec.terms_size(); ++term) {
    const v1::RewardSpecTerm& asked = spec.terms(term);
    const std::string version = term < static_cast<int>(versions.size()) ? versions[term] : "";
    add(asked.scorer(), term,
        absl::StrCat(asked.weight() == 1 ? "" : absl::StrCat(", weight ", asked.weight()),
                     version.empty() ? "" : absl::StrCat(" (", version, ")")));
  }
  if (spec.terms_size() > 1) add("together, by weight", -1, "");
  return text;
}

std::string TableText(const v1::RewardSpec& spec, const std::vector<PictureScore>& sorted, size_t most, int width) {
  const bool has_terms = spec.terms_size() > 1;
  std::vector<int> term_widths;
  int used = 9;
  for (const v1::RewardSpecTerm& term : spec.terms()) {
    if (!has_terms) break;
    term_widths.push_back(std::clamp(DisplayColumns(term.scorer()), 8, 20));
    used += 2 + term_widths.back();
  }
  int name_width = DisplayColumns("file");
  for (const PictureScore& picture : sorted) name_width = std::max(name_width, DisplayColumns(picture.name));
  name_width = std::min(name_width, std::max(kLeastText, (width - used - 4) / 2));
  const int text_width = std::max(kLeastText, width - used - name_width - 4);
  const auto line = [&](const std::string& reward, const std::vector<std::string>& terms, const std::string& name,
                        const std::string& prompt) {
    std::string text = absl::StrFormat("%9s", reward);
    for (size_t i = 0; i < terms.size(); ++i)
      absl::StrAppend(&text, "  ", std::string(std::max(term_widths[i] - DisplayColumns(terms[i]), 0), ' '), terms[i]);
    absl::StrAppend(&text, "  ", Cell(name, name_width), "  ", Cell(prompt, text_width));
    return absl::StrCat(absl::StripTrailingAsciiWhitespace(text), "\n");
  };
  std::vector<std::string> heads;
  for (size_t i = 0; i < term_widths.size(); ++i)
    heads.push_back(std::string(
        absl::StripTrailingAsciiWhitespace(Cell(spec.terms(static_cast<int>(i)).scorer(), term_widths[i]))));
  std::string text = line("reward", heads, "file", "prompt");
  const size_t head = sorted.size() > most ? most / 2 : sorted.size();
  for (size_t i = 0; i < sorted.size(); ++i) {
    if (i == head && sorted.size() > most) {
      i = sorted.size() - (most - head);
      absl::StrAppend(&text, std::string(9, ' '), "  ", i - head, " more\n");
    }
    const PictureScore& picture = sorted[i];
    std::vector<std::string> terms;
    for (size_t term = 0; term < term_widths.size(); ++term)
      terms.push_back(Figure(RewardOf(picture, static_cast<int>(term))));
    const std::string why = WhyNoReward(spec, picture);
    absl::StrAppend(&text, line(Figure(CombinedReward(spec, picture)), terms, picture.name,
                                why.empty() ? picture.prompt.text() : why));
  }
  return text;
}

std::string ScoresJsonLines(const v1::RewardSpec& spec, const std::vector<PictureScore>& sorted) {
  std::string lines;
  for (const PictureScore& picture : sorted) {
    const std::optional<double> reward = CombinedReward(spec, picture);
    Json json = {{"file_name", SanitizeUtf8(picture.name)},
                 {"prompt", picture.prompt.text()},
                 {"reward", reward.has_value() ? Json(*reward) : Json()}};
    if (!picture.prompt.metadata().empty()) json["metadata"] = MetadataJson(picture.prompt);
    if (!picture.status.ok()) {
      json["error"] = SanitizeUtf8(picture.status.message());
    } else {
      json["height"] = picture.height;
      json["width"] = picture.width;
      Json scorers = Json::object();
      for (int term = 0; term < picture.scores.terms_size(); ++term) {
        Json score = TermJson(picture.scores.terms(term));
        score["weight"] = spec.terms(term).weight();
        std::string name = spec.terms(term).scorer();
        if (scorers.contains(name)) absl::StrAppend(&name, " at ", spec.terms(term).endpoint());
        scorers[name] = std::move(score);
      }
      json["scorers"] = std::move(scorers);
    }
    absl::StrAppend(&lines, json.dump(), "\n");
  }
  return lines;
}

std::string ScoresCsv(const v1::RewardSpec& spec, const std::vector<PictureScore>& sorted) {
  std::string table = "file_name,prompt,reward";
  for (const v1::RewardSpecTerm& term : spec.terms()) absl::StrAppend(&table, ",", CsvCell(term.scorer()));
  absl::StrAppend(&table, ",error\n");
  const auto number = [](std::optional<double> value) {
    return value.has_value() ? absl::StrFormat("%.17g", *value) : std::string();
  };
  for (const PictureScore& picture : sorted) {
    absl::StrAppend(&table, CsvCell(SanitizeUtf8(picture.name)), ",", CsvCell(picture.prompt.text()), ",",
                    number(CombinedReward(spec, picture)));
    for (int term = 0; term < spec.terms_size(); ++term) absl::StrAppend(&table, ",", number(RewardOf(picture, term)));
    absl::StrAppend(&table, ",", CsvCell(WhyNoReward(spec, picture)), "\n");
  }
  return table;
}

}  // namespace flowawr
