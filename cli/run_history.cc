#include "cli/run_history.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "common/base/utf8.h"
#include "common/telemetry/metrics_line.h"
#include "common/tensor/image.h"
#include "common/tensor/strict_json.h"

namespace flowawr {
namespace {

namespace key = metrics_line;

using Json = nlohmann::json;
namespace fs = std::filesystem;

constexpr size_t kMaxPictureBytes = size_t{16} << 20;
constexpr size_t kMostPicturesBytes = size_t{32} << 20;  // of one set
constexpr size_t kMostPictures = 256;                    // of one set: as many as a configuration may ask for
constexpr size_t kMostLineBytes = size_t{1} << 20;       // of metrics.jsonl; what is longer no run wrote
constexpr size_t kMostRecords = 50000;                   // of updates and of evaluations; more are thinned
constexpr size_t kMostSwaps = 200, kMostSpecs = 1000, kMostStages = 64, kMostNumbers = 64, kMostDetails = 32, kMostTextBytes = 2000;

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
    if (const std::optional<double> number = Number(*it, name.c_str());
        number.has_value() && numbers.size() < kMostNumbers)
      numbers[TruncateUtf8(name, kMostTextBytes)] = *number;
  return numbers;
}

// Stage names by the order in which they were first seen, so that an update's seconds are a few numbers.
class StageNames {
 public:
  // nullopt once there are too many: what a run writes has a dozen.
  std::optional<size_t> Find(const std::string& name) {
    const auto known = indices_.find(name);
    if (known != indices_.end()) return known->second;
    if (names_.size() >= kMostStages) return std::nullopt;
    names_.push_back(name);
    return indices_[name] = names_.size() - 1;
  }
  const std::string& operator[](size_t index) const { return names_[index]; }

 private:
  std::map<std::string, size_t> indices_;
  std::vector<std::string> names_;
};

// By stage; short when the last stages took nothing.
using StageSums = std::vector<double>;

void Add(const StageSums& seconds, StageSums* sums) {
  if (sums->size() < seconds.size()) sums->resize(seconds.size());
  for (size_t i = 0; i < seconds.size(); ++i) (*sums)[i] += seconds[i];
}

struct UpdateLine {
  UpdateRecord record;
  StageSums learner_seconds, actor_seconds;
};

StageSums ReadSeconds(const Json& line, const char* key, StageNames* names) {
  StageSums seconds;
  for (const auto& [stage, spent] : Numbers(line, key)) {
    const std::optional<size_t> index = names->Find(stage);
    if (!index.has_value()) continue;
    if (seconds.size() <= *index) seconds.resize(*index + 1);
    seconds[*index] = spent;
  }
  return seconds;
}

UpdateRecord ReadUpdate(const Json& line) {
  UpdateRecord record;
  record.update = Count(line, key::kUpdate);
  record.reward_mean = Number(line, key::kRewardMean);
  record.elapsed_s = Number(line, key::kElapsed);
  record.samples_trained = Count(line, key::kSamplesTrained);
  record.rewards_version = Count(line, key::kRewardSpec);
  const auto skipped = line.find(key::kSkipped);
  record.is_skipped = skipped != line.end() && skipped->is_boolean() && skipped->get<bool>();
  if (!record.is_skipped) {  // otherwise nothing was computed
    record.loss = Number(line, key::kLoss);
    record.kl = Number(line, key::kKl);
    record.grad_norm = Number(line, key::kGradNorm);
  }
  return record;
}

EvaluationRecord ReadEvaluation(const Json& line) {
  EvaluationRecord record;
  record.update = Count(line, key::kUpdate);
  record.reward_mean = Number(line, key::kRewardMean);
  record.reward_stderr = Number(line, key::kRewardStderr);
  record.exact_share = Number(line, key::kExactShare);
  record.elapsed_s = Number(line, key::kElapsed);
  record.images = Count(line, key::kImages);
  record.by_scorer = Numbers(line, key::kByScorer);
  record.rewards_version = Count(line, key::kRewardSpec);
  record.is_final = Text(line, key::kSet) == "final";
  return record;
}

std::map<std::string, ShadowRecord> ReadShadows(const Json& line) {
  std::map<std::string, ShadowRecord> shadows;
  const auto all = line.find(key::kShadows);
  if (all == line.end() || !all->is_object()) return shadows;
  for (const auto& [scorer, figures] : all->items()) {
    if (!figures.is_object() || shadows.size() >= kMostNumbers) continue;
    shadows[TruncateUtf8(scorer, kMostTextBytes)] = {Count(figures, key::kGroups),
                                                     Number(figures, key::kRankCorrelation),
                                                     Number(figures, key::kBestDiffers)};
  }
  return shadows;
}

EndRecord ReadEnd(const Json& line) {
  EndRecord end{TruncateUtf8(Text(line, key::kReason), kMostTextBytes), {}};
  const auto warnings = line.find(key::kWarnings);
  if (warnings == line.end() || !warnings->is_array()) return end;
  for (const Json& warning : *warnings)
    if (warning.is_string() && end.warnings.size() < kMostNumbers)
      end.warnings.push_back(TruncateUtf8(warning.get<std::string>(), kMostTextBytes));
  return end;
}

// "ocr weight 1, jpeg weight -0.1", of a line of kind reward_spec.
std::string DescribeSpec(const Json& line) {
  std::string text;
  const auto terms = line.find(key::kTerms);
  if (terms == line.end() || !terms->is_array()) return "rewards without a name";
  for (const Json& term : *terms) {
    if (!term.is_object() || text.size() > kMostTextBytes) continue;
    const double weight = Number(term, key::kWeight).value_or(1);
    absl::StrAppend(&text, text.empty() ? "" : ", ", Text(term, key::kScorer), " weight ", weight,
                    weight == 0 ? " (shadow)" : "");
  }
  return TruncateUtf8(text, kMostTextBytes);
}

// What the lines of metrics.jsonl add up to, in bounded memory whatever their number.
class MetricsReader {
 public:
  void TakeLine(absl::string_view line) {
    ++lines_;
    if (absl::StripAsciiWhitespace(line).empty()) return;
    const absl::StatusOr<Json> json = ParseStrictJson(line, "metrics.jsonl");
    if (!json.ok() || !json->is_object() || !json->contains(key::kUpdate) ||
        !(*json)[key::kUpdate].is_number_unsigned())
      return TakeMalformed();
    if (const std::string run_id = Text(*json, "run_id"); !run_id.empty()) history_.run_id = run_id;
    const std::string kind = Text(*json, key::kKind);
    const uint64_t update = Count(*json, key::kUpdate);
    if (kind == key::kKindUpdate) {
      if (update >= history_.shadows_update) {
        history_.shadows_update = update;
        history_.shadows = ReadShadows(*json);
      }
      updates_[update] = {ReadUpdate(*json), ReadSeconds(*json, key::kSeconds, &learner_stages_),
                          ReadSeconds(*json, key::kActorSeconds, &actor_stages_)};
      if (updates_.size() > kMostRecords) ThinUpdates();
    } else if (kind == key::kKindEvaluation) {
      evaluations_[update] = ReadEvaluation(*json);
      if (evaluations_.size() > kMostRecords) evaluations_.erase(std::next(evaluations_.begin(), kMostRecords / 2));
    } else if (kind == key::kKindEnd) {
      history_.end = ReadEnd(*json);
      end_update_ = update;
    } else if (kind == key::kKindRewardSpec && specs_.size() < kMostSpecs) {
      specs_[Count(*json, key::kRewardSpec)] = DescribeSpec(*json);
    }
  }

  // A line too long to be one of a run's.
  void SkipLine() {
    ++lines_;
    TakeMalformed();
  }

  // What follows the last end of line. A whole line whose end is not written yet counts; half a line is no JSON.
  void TakeUnfinished(absl::string_view line) {
    if (line.empty()) return;
    if (ParseStrictJson(line, "metrics.jsonl").ok())
      TakeLine(line);
    else
      history_.notes.push_back("The last line of metrics.jsonl is cut short and left out.");
  }

  RunHistory Finish() && {
    if (malformed_ > 0)
      history_.notes.push_back(absl::StrCat("Left out ", malformed_, " unreadable line", malformed_ == 1 ? "" : "s",
                                            " of metrics.jsonl; the first is line ", first_malformed_, "."));
    if (stride_ > 1)
      history_.notes.push_back(absl::StrCat("Of so many updates only every ", stride_, "th is drawn."));
    for (const auto& [update, line] : updates_) {
      history_.updates.push_back(line.record);
      Add(line.learner_seconds, &learner_sums_);
      Add(line.actor_seconds, &actor_sums_);
    }
    history_.updates_skipped += std::count_if(history_.updates.begin(), history_.updates.end(),
                                              [](const UpdateRecord& record) { return record.is_skipped; });
    for (size_t i = 0; i < learner_sums_.size(); ++i) history_.learner_seconds[learner_stages_[i]] = learner_sums_[i];
    for (size_t i = 0; i < actor_sums_.size(); ++i) history_.actor_seconds[actor_stages_[i]] = actor_sums_[i];
    for (const auto& [update, record] : evaluations_) history_.evaluations.push_back(record);
    if (!updates_.empty() && updates_.rbegin()->first > end_update_) history_.end = {};
    history_.swaps = FindSwaps();
    return std::move(history_);
  }

 private:
  void TakeMalformed() {
    if (malformed_++ == 0) first_malformed_ = lines_;
  }

  std::string NameOf(uint64_t version) const {
    const auto spec = specs_.find(version);
    if (spec != specs_.end()) return spec->second;
    return version == 1 ? "those of the configuration" : absl::StrCat("version ", version);
  }

  // Where the version of the rewards changes from one update to the next, or to an evaluation after it.
  std::vector<RewardSwap> FindSwaps() const {
    std::map<uint64_t, uint64_t> version_by_update;
    for (const auto& [update, record] : evaluations_)
      if (record.rewards_version > 0) version_by_update[update] = record.rewards_version;
    for (const auto& [update, line] : updates_)
      if (line.record.rewards_version > 0) version_by_update[update] = line.record.rewards_version;
    std::vector<RewardSwap> swaps;
    uint64_t last = 0, last_update = 0;
    for (const auto& [update, version] : version_by_update) {
      if (last > 0 && version != last && swaps.size() < kMostSwaps)
        swaps.push_back({last_update, NameOf(last), NameOf(version)});
      last = version, last_update = update;
    }
    return swaps;
  }

  // Keeps every second update, and what the others add to the sums.
  void ThinUpdates() {
    stride_ *= 2;
    const uint64_t last = updates_.rbegin()->first;
    for (auto it = updates_.begin(); it != updates_.end();) {
      if (it->first % stride_ == 0 || it->first == last) {
        ++it;
        continue;
      }
      Add(it->second.learner_seconds, &learner_sums_);
      Add(it->second.actor_seconds, &actor_sums_);
      history_.updates_skipped += it->second.record.is_skipped ? 1 : 0;
      it = updates_.erase(it);
    }
  }

  RunHistory history_;
  std::map<uint64_t, UpdateLine> updates_;
  std::map<uint64_t, EvaluationRecord> evaluations_;
  std::map<uint64_t, std::string> specs_;  // by version
  StageNames learner_stages_, actor_stages_;
  StageSums learner_sums_, actor_sums_;  // of the updates that are not in `updates_` any more
  uint64_t end_update_ = 0;
  uint64_t lines_ = 0, malformed_ = 0, first_malformed_ = 0, stride_ = 1;
};

absl::StatusOr<RunHistory> ReadMetrics(const std::string& path) {
  std::error_code error;
  if (!fs::is_regular_file(path, error))
    return fs::exists(path, error) ? absl::InvalidArgumentError(absl::StrCat(path, " is no file"))
                                   : absl::NotFoundError(absl::StrCat("there is no ", path));
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::PermissionDeniedError(absl::StrCat(path, " cannot be opened"));
  MetricsReader reader;
  std::string line;
  bool is_too_long = false;
  std::vector<char> block(size_t{1} << 16);
  while (file.read(block.data(), static_cast<std::streamsize>(block.size())), file.gcount() > 0) {
    absl::string_view rest(block.data(), static_cast<size_t>(file.gcount()));
    for (size_t end; (end = rest.find('\n')) != absl::string_view::npos; rest.remove_prefix(end + 1)) {
      line.append(rest.data(), end);
      if (is_too_long || line.size() > kMostLineBytes)
        reader.SkipLine();
      else
        reader.TakeLine(line);
      line.clear();
      is_too_long = false;
    }
    if (!is_too_long) line.append(rest.data(), rest.size());
    if (line.size() > kMostLineBytes) is_too_long = true, line.clear();
  }
  if (file.bad()) return absl::DataLossError(absl::StrCat("reading ", path, " failed"));
  if (is_too_long) line.assign(1, '{');  // counts as half a line
  reader.TakeUnfinished(line);
  return std::move(reader).Finish();
}

absl::StatusOr<Picture> ReadPicture(const fs::path& png) {
  Picture picture;
  FLOWAWR_ASSIGN_OR_RETURN(picture.png, ReadFile(png.string(), kMaxPictureBytes));
  FLOWAWR_ASSIGN_OR_RETURN(const Image image, DecodePng(picture.png));
  picture.width = image.width;
  picture.height = image.height;
  const absl::StatusOr<Json> json = ReadStrictJson(fs::path(png).replace_extension(".json").string());
  if (!json.ok() || !json->is_object()) return picture;
  picture.prompt = TruncateUtf8(Text(*json, "prompt"), kMostTextBytes);
  picture.reward = Number(*json, "reward");
  picture.update = Count(*json, "update");
  if (const auto details = json->find("details"); details != json->end() && details->is_object())
    for (const auto& [key, value] : details->items())
      if (value.is_string() && picture.details.size() < kMostDetails)
        picture.details[TruncateUtf8(key, kMostTextBytes)] = TruncateUtf8(value.get<std::string>(), kMostTextBytes);
  return picture;
}

std::map<std::string, Picture> ReadPictures(const std::string& run_dir, const std::string& set, RunHistory& history) {
  std::set<fs::path> paths;
  std::error_code error;
  for (fs::directory_iterator it(fs::path(run_dir) / "images" / set, error), end; !error && it != end;
       it.increment(error)) {
    if (it->path().extension() != ".png") continue;
    paths.insert(it->path());
    if (paths.size() > kMostPictures) paths.erase(std::prev(paths.end()));
  }
  std::map<std::string, Picture> pictures;
  size_t bytes = 0, broken = 0, left_out = 0;
  for (const fs::path& path : paths) {
    absl::StatusOr<Picture> picture = ReadPicture(path);
    if (!picture.ok() && broken++ == 0)
      history.notes.push_back(absl::StrCat("Left out images/", set, "/", path.filename().string(), ": ",
                                           picture.status().message(), "."));
    if (!picture.ok()) continue;
    if ((bytes += picture->png.size()) > kMostPicturesBytes)
      ++left_out;
    else
      pictures[path.stem().string()] = *std::move(picture);
  }
  if (broken > 1) history.notes.push_back(absl::StrCat("So were ", broken - 1, " more of images/", set, "."));
  if (left_out > 0)
    history.notes.push_back(absl::StrCat("Left out ", left_out, " more pictures of images/", set,
                                         ": together they are too large for one page."));
  return pictures;
}

// images/update-000010 and so on, by update.
std::map<uint64_t, std::map<std::string, Picture>> ReadPicturesBetween(const std::string& run_dir, RunHistory& history) {
  std::map<uint64_t, std::string> folders;
  std::error_code error;
  for (fs::directory_iterator it(fs::path(run_dir) / "images", error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    uint64_t update = 0;
    if (absl::StartsWith(name, "update-") && absl::SimpleAtoi(name.substr(7), &update)) folders[update] = name;
    if (folders.size() > kMostRecords) break;
  }
  std::vector<uint64_t> updates;
  for (const auto& [update, folder] : folders) updates.push_back(update);
  std::map<uint64_t, std::map<std::string, Picture>> pictures;
  for (const uint64_t update : SpreadUpdates(updates, kMostPicturedUpdates))
    if (std::map<std::string, Picture> found = ReadPictures(run_dir, folders[update], history); !found.empty())
      pictures[update] = std::move(found);
  return pictures;
}

uint64_t UpdateOf(const std::map<std::string, Picture>& pictures) {
  return pictures.empty() ? 0 : pictures.begin()->second.update;
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

std::vector<uint64_t> SpreadUpdates(const std::vector<uint64_t>& updates, size_t most) {
  if (updates.size() <= most || most < 2) return updates;
  std::vector<uint64_t> spread;
  for (size_t i = 0; i < most; ++i) spread.push_back(updates[i * (updates.size() - 1) / (most - 1)]);
  return spread;
}

const EvaluationRecord* RunHistory::base_evaluation() const {
  return !evaluations.empty() && evaluations.front().update == 0 ? &evaluations.front() : nullptr;
}

const EvaluationRecord* RunHistory::latest_evaluation() const {
  return !evaluations.empty() && evaluations.back().update > 0 ? &evaluations.back() : nullptr;
}

const EvaluationRecord* RunHistory::final_evaluation() const {
  const EvaluationRecord* latest = latest_evaluation();
  return latest != nullptr && latest->is_final ? latest : nullptr;
}

absl::StatusOr<RunHistory> ReadRunMetrics(const std::string& run_dir) {
  absl::StatusOr<RunHistory> history = ReadMetrics(run_dir + "/metrics.jsonl");
  if (absl::IsNotFound(history.status()))
    return absl::NotFoundError(absl::StrCat(run_dir,
                                            " has no metrics.jsonl: it is no run directory, or its run has "
                                            "not evaluated the base model yet"));
  return history;
}

absl::StatusOr<RunHistory> ReadRunHistory(const std::string& run_dir) {
  FLOWAWR_ASSIGN_OR_RETURN(RunHistory history, ReadRunMetrics(run_dir));
  if (history.run_id.empty()) history.run_id = RunIdOfCheckpoint(run_dir);
  history.base_pictures = ReadPictures(run_dir, "base", history);
  history.final_pictures = ReadPictures(run_dir, "final", history);
  std::map<std::string, Picture> latest = ReadPictures(run_dir, "latest", history);
  // A run that was extended after its end has final pictures that are older.
  if (history.final_pictures.empty() || UpdateOf(latest) > UpdateOf(history.final_pictures))
    history.final_pictures = std::move(latest);
  history.pictures_between = ReadPicturesBetween(run_dir, history);
  absl::StatusOr<std::string> config = ReadFile(run_dir + "/config.yaml", size_t{4} << 20);
  if (config.ok())
    history.config_yaml = *std::move(config);
  else
    history.notes.push_back(absl::StrCat("No configuration: ", config.status().message(), "."));
  return history;
}

}  // namespace flowawr
