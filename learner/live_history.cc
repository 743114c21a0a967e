#include "learner/live_history.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/utf8.h"
#include "common/telemetry/metrics_line.h"
#include "common/tensor/strict_json.h"

namespace flowawr {
namespace {

namespace key = metrics_line;

using Json = nlohmann::ordered_json;

std::optional<double> Number(const nlohmann::json& object, const char* key) {
  const auto it = object.find(key);
  if (it == object.end() || !it->is_number()) return std::nullopt;
  const double value = it->get<double>();
  return std::isfinite(value) ? std::optional(value) : std::nullopt;
}

std::map<std::string, double> Numbers(const nlohmann::json& object, const char* key, size_t most) {
  std::map<std::string, double> numbers;
  const auto it = object.find(key);
  if (it == object.end() || !it->is_object()) return numbers;
  for (const auto& [name, value] : it->items())
    if (value.is_number() && numbers.size() < most) numbers[TruncateUtf8(name, 60)] = value.get<double>();
  return numbers;
}

std::string Text(const nlohmann::json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get<std::string>() : "";
}

// Five digits are more than a screen shows.
Json Rounded(double value) {
  double rounded = value;
  if (!std::isfinite(value) || !absl::SimpleAtod(absl::StrFormat("%.5g", value), &rounded)) return Json();
  return rounded;
}

Json OrNull(const std::optional<double>& value) { return value ? Rounded(*value) : Json(); }

std::string DescribeTerms(const nlohmann::json& line) {
  std::string text;
  const auto terms = line.find(key::kTerms);
  if (terms == line.end() || !terms->is_array()) return text;
  for (const nlohmann::json& term : *terms) {
    if (!term.is_object() || text.size() > 1000) continue;
    const double weight = Number(term, key::kWeight).value_or(1);
    absl::StrAppend(&text, text.empty() ? "" : ", ", Text(term, key::kScorer), weight == 0 ? "" : " weight ",
                    weight == 0 ? " (shadow)" : absl::StrCat(weight));
  }
  return text;
}

}  // namespace

std::vector<CurvePoint> ThinCurve(std::vector<CurvePoint> points, size_t most) {
  if (points.size() <= most) return points;
  const size_t stretches = std::max<size_t>((most - 1) / 2, 1);
  std::vector<CurvePoint> thinned;
  for (size_t i = 0; i < stretches; ++i) {
    const auto begin = points.begin() + points.size() * i / stretches;
    const auto end = points.begin() + points.size() * (i + 1) / stretches;
    const auto [low, high] = std::minmax_element(begin, end, [](const auto& a, const auto& b) { return a.y < b.y; });
    thinned.push_back(*std::min(low, high));
    if (low != high) thinned.push_back(*std::max(low, high));
  }
  if (thinned.back().x != points.back().x) thinned.push_back(points.back());  // what is newest is always seen
  return thinned;
}

void LiveHistory::Add(const std::string& curve, uint64_t update, std::optional<double> value) {
  if (!value) return;
  std::vector<CurvePoint>& points = curves_[curve];
  const double x = static_cast<double>(update);
  if (!points.empty() && points.back().x == x) points.pop_back();  // written again
  points.push_back({x, *value});
  if (points.size() > kMostKept) points = ThinCurve(std::move(points), kMostKept / 2);
}

void LiveHistory::TakeLine(absl::string_view text) {
  const absl::StatusOr<nlohmann::json> line = ParseStrictJson(text, "metrics.jsonl");
  if (!line.ok() || !line->is_object() || !line->contains(key::kUpdate) ||
      !(*line)[key::kUpdate].is_number_unsigned())
    return;
  const uint64_t update = (*line)[key::kUpdate].get<uint64_t>();
  const std::string kind = Text(*line, key::kKind);
  if (kind == key::kKindUpdate) {
    for (const char* curve : {key::kRewardMean, key::kLoss, key::kKl, key::kGradNorm, key::kLearningRate})
      Add(curve, update, Number(*line, curve));
    for (const auto& [scorer, mean] : Numbers(*line, key::kByScorer, kMostScorers)) Add("scorer/" + scorer, update, mean);
    const double elapsed = Number(*line, key::kElapsed).value_or(elapsed_s_);
    const double samples = Number(*line, key::kSamplesTrained).value_or(samples_);
    // From the second update on: what the first one took also made the actors load their models.
    if (updates_ > 0 && elapsed > elapsed_s_ && samples >= samples_)
      Add("images_per_s", update, (samples - samples_) / (elapsed - elapsed_s_));
    elapsed_s_ = elapsed, samples_ = samples, updates_ = update;
    seconds_ = Numbers(*line, key::kSeconds, 16);
  } else if (kind == key::kKindEvaluation) {
    Evaluation& evaluation = evaluations_[update];
    evaluation = {update, Number(*line, key::kRewardMean), Number(*line, key::kRewardStderr),
                  Number(*line, key::kExactShare), Numbers(*line, key::kByScorer, kMostScorers)};
    if (evaluations_.size() > kMostEvaluations) evaluations_.erase(std::next(evaluations_.begin(), kMostEvaluations / 2));
  } else if (kind == key::kKindRewardSpec && swaps_.size() < kMostSwaps) {
    swaps_.push_back({update, TruncateUtf8(DescribeTerms(*line), kMostTextBytes)});
  }
}

std::string LiveHistory::ToJson() const {
  nlohmann::ordered_json json = {{"updates", updates_}, {"curves", nlohmann::ordered_json::object()}};
  size_t scorers = 0;
  for (const auto& [name, points] : curves_) {
    if (absl::StartsWith(name, "scorer/") && ++scorers > kMostScorers) continue;
    nlohmann::ordered_json& curve = json["curves"][name] = nlohmann::ordered_json::array();
    for (const CurvePoint& point : ThinCurve(points, kMostSent)) curve.push_back({point.x, Rounded(point.y)});
  }
  nlohmann::ordered_json& heldout = json["heldout"] = nlohmann::ordered_json::array();
  const size_t stride = evaluations_.size() / kMostSent + 1;
  size_t index = 0;
  for (const auto& [update, evaluation] : evaluations_) {
    if (index++ % stride != 0 && update != evaluations_.rbegin()->first) continue;
    nlohmann::ordered_json by_scorer = nlohmann::ordered_json::object();
    for (const auto& [scorer, mean] : evaluation.by_scorer) by_scorer[scorer] = Rounded(mean);
    heldout.push_back({{"update", update},
                       {"reward", OrNull(evaluation.reward)},
                       {"error", OrNull(evaluation.standard_error)},
                       {"exact", OrNull(evaluation.exact)},
                       {"by_scorer", std::move(by_scorer)}});
  }
  nlohmann::ordered_json& swaps = json["swaps"] = nlohmann::ordered_json::array();
  for (const Swap& swap : swaps_) swaps.push_back({{"update", swap.update}, {"to", swap.to}});
  nlohmann::ordered_json& seconds = json["seconds"] = nlohmann::ordered_json::object();
  for (const auto& [stage, spent] : seconds_) seconds[stage] = Rounded(spent);
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace flowawr
