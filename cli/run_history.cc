#include "cli/run_history.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "common/tensor/image.h"
#include "common/tensor/strict_json.h"

namespace flowawr {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

constexpr size_t kMaxPictureBytes = size_t{16} << 20;

std::optional<double> Number(const Json& object, const char* key) {
  const auto it = object.find(key);
  if (it == object.end() || !it->is_number()) return std::nullopt;
  const double value = it->get<double>();
  return std::isfinite(value) ? std::optional<double>(value) : std::nullopt;
}

uint64_t Count(const Json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_number_unsigned() ? it->get<uint64_t>() : 0;
}

std::string Text(const Json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get<std::string>() : "";
}

std::map<std::string, double> Numbers(const Json& object, const char* key) {
  std::map<std::string, double> numbers;
  const auto it = object.find(key);
  if (it == object.end() || !it->is_object()) return numbers;
  for (const auto& [name, value] : it->items())
    if (const std::optional<double> number = Number(*it, name.c_str())) numbers[name] = *number;
  return numbers;
}

struct UpdateLine {
  UpdateRecord record;
  SecondsByStage learner_seconds, actor_seconds;
};

UpdateLine ReadUpdate(const Json& line) {
  UpdateRecord record;
  record.update = Count(line, "update");
  record.reward_mean = Number(line, "reward_mean");
  record.elapsed_s = Number(line, "elapsed_s");
  record.samples_trained = Count(line, "samples_trained");
  record.is_skipped = line.contains("skipped") && line["skipped"].is_boolean() && line["skipped"].get<bool>();
  if (!record.is_skipped) {  // otherwise nothing was computed
    record.loss = Number(line, "loss");
    record.kl = Number(line, "kl");
    record.grad_norm = Number(line, "grad_norm");
  }
  return {record, Numbers(line, "seconds"), Numbers(line, "actor_seconds")};
}

EvaluationRecord ReadEvaluation(const Json& line) {
  EvaluationRecord record;
  record.update = Count(line, "update");
  record.reward_mean = Number(line, "reward_mean");
  record.reward_stderr = Number(line, "reward_stderr");
  record.exact_share = Number(line, "exact_share");
  record.elapsed_s = Number(line, "elapsed_s");
  record.images = Count(line, "images");
  record.by_scorer = Numbers(line, "by_scorer");
  return record;
}

void ReadMetrics(const std::string& text, RunHistory& history) {
  std::map<uint64_t, UpdateLine> updates;
  std::map<uint64_t, EvaluationRecord> evaluations;
  std::vector<std::string> lines = absl::StrSplit(text, '\n');
  const std::string unfinished = std::move(lines.back());  // what follows the last end of line
  lines.pop_back();
  if (!unfinished.empty()) {
    // A whole line whose end is not written yet counts; half a line is no JSON.
    if (ParseStrictJson(unfinished, "metrics.jsonl").ok())
      lines.push_back(unfinished);
    else
      history.notes.push_back("The last line of metrics.jsonl is cut short and left out.");
  }
  int number = 0, malformed = 0, first_malformed = 0;
  for (const std::string& line : lines) {
    ++number;
    if (absl::StripAsciiWhitespace(line).empty()) continue;
    const absl::StatusOr<Json> json = ParseStrictJson(line, "metrics.jsonl");
    if (!json.ok() || !json->is_object() || !json->contains("update") || !(*json)["update"].is_number_unsigned()) {
      if (malformed++ == 0) first_malformed = number;
      continue;
    }
    if (const std::string run_id = Text(*json, "run_id"); !run_id.empty()) history.run_id = run_id;
    const std::string kind = Text(*json, "kind");
    if (kind == "update") updates[Count(*json, "update")] = ReadUpdate(*json);
    if (kind == "evaluation") evaluations[Count(*json, "update")] = ReadEvaluation(*json);
  }
  if (malformed > 0)
    history.notes.push_back(absl::StrCat("Left out ", malformed, " unreadable line", malformed == 1 ? "" : "s",
                                         " of metrics.jsonl; the first is line ", first_malformed, "."));
  for (const auto& [update, line] : updates) {
    history.updates.push_back(line.record);
    for (const auto& [stage, seconds] : line.learner_seconds) history.learner_seconds[stage] += seconds;
    for (const auto& [stage, seconds] : line.actor_seconds) history.actor_seconds[stage] += seconds;
  }
  for (const auto& [update, record] : evaluations) history.evaluations.push_back(record);
}

absl::StatusOr<Picture> ReadPicture(const fs::path& png) {
  Picture picture;
  FLOWAWR_ASSIGN_OR_RETURN(picture.png, ReadFile(png.string(), kMaxPictureBytes));
  FLOWAWR_ASSIGN_OR_RETURN(const Image image, DecodePng(picture.png));
  picture.width = image.width;
  picture.height = image.height;
  const absl::StatusOr<Json> json = ReadStrictJson(fs::path(png).replace_extension(".json").string());
  if (!json.ok() || !json->is_object()) return picture;
  picture.prompt = Text(*json, "prompt");
  picture.reward = Number(*json, "reward");
  if (const auto details = json->find("details"); details != json->end() && details->is_object())
    for (const auto& [key, value] : details->items())
      if (value.is_string()) picture.details[key] = value.get<std::string>();
  return picture;
}

std::map<std::string, Picture> ReadPictures(const std::string& run_dir, const std::string& set, RunHistory& history) {
  std::map<std::string, Picture> pictures;
  std::error_code error;
  for (fs::directory_iterator it(fs::path(run_dir) / "images" / set, error), end; !error && it != end;
       it.increment(error)) {
    if (it->path().extension() != ".png") continue;
    absl::StatusOr<Picture> picture = ReadPicture(it->path());
    if (picture.ok())
      pictures[it->path().stem().string()] = *std::move(picture);
    else
      history.notes.push_back(absl::StrCat("Left out images/", set, "/", it->path().filename().string(), ": ",
                                           picture.status().message(), "."));
  }
  return pictures;
}

// Of the newest checkpoint, for histories whose lines do not name their run.
std::string RunIdOfCheckpoint(const std::string& run_dir) {
  const absl::StatusOr<std::string> latest = ReadFile(run_dir + "/checkpoints/latest", 4096);
  if (!latest.ok()) return "";
  const std::string name(absl::StripAsciiWhitespace(*latest));
  const absl::StatusOr<Json> json = ReadStrictJson(absl::StrCat(run_dir, "/checkpoints/", name, "/checkpoint.json"));
  if (!json.ok() || !json->is_object()) return "";
  const std::string run_id = Text(*json, "run_id");
  return run_id.empty() ? Text(*json, "runId") : run_id;  // protobuf's two spellings
}

}  // namespace

const EvaluationRecord* RunHistory::base_evaluation() const {
  return !evaluations.empty() && evaluations.front().update == 0 ? &evaluations.front() : nullptr;
}

const EvaluationRecord* RunHistory::final_evaluation() const {
  return !evaluations.empty() && evaluations.back().update > 0 ? &evaluations.back() : nullptr;
}

absl::StatusOr<RunHistory> ReadRunMetrics(const std::string& run_dir) {
  const absl::StatusOr<std::string> metrics = ReadFile(run_dir + "/metrics.jsonl");
  if (absl::IsNotFound(metrics.status()))
    return absl::NotFoundError(absl::StrCat(run_dir,
                                            " has no metrics.jsonl: it is no run directory, or its run has "
                                            "not evaluated the base model yet"));
  FLOWAWR_RETURN_IF_ERROR(metrics.status());
  RunHistory history;
  ReadMetrics(*metrics, history);
  return history;
}

absl::StatusOr<RunHistory> ReadRunHistory(const std::string& run_dir) {
  FLOWAWR_ASSIGN_OR_RETURN(RunHistory history, ReadRunMetrics(run_dir));
  if (history.run_id.empty()) history.run_id = RunIdOfCheckpoint(run_dir);
  history.base_pictures = ReadPictures(run_dir, "base", history);
  history.final_pictures = ReadPictures(run_dir, "final", history);
  if (history.final_pictures.empty()) history.final_pictures = ReadPictures(run_dir, "latest", history);
  absl::StatusOr<std::string> config = ReadFile(run_dir + "/config.yaml", size_t{4} << 20);
  if (config.ok())
    history.config_yaml = *std::move(config);
  else
    history.notes.push_back(absl::StrCat("No configuration: ", config.status().message(), "."));
  return history;
}

std::string QuotedTarget(absl::string_view prompt) {
  const std::vector<absl::string_view> parts = absl::StrSplit(prompt, absl::MaxSplits('"', 2));
  return parts.size() == 3 ? std::string(parts[1]) : "";
}

bool TextMatches(absl::string_view text, absl::string_view target) {
  const auto normalise = [](absl::string_view from) {
    std::string to;
    for (const char c : from)
      if (!absl::ascii_isspace(c)) to += absl::ascii_tolower(c);
    return to;
  };
  const std::string wanted = normalise(target);
  return !wanted.empty() && absl::StrContains(normalise(text), wanted);
}

}  // namespace flowawr
