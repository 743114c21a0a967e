#include "cli/reward/term_text.h"

#include <map>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "common/base/nearest_word.h"
#include "common/base/utf8.h"
#include "common/scoring/reward_spec_check.h"

namespace flowawr {
namespace {

constexpr char kExpectedTerm[] =
    "expected SCORER[,weight=W][,endpoint=HOST:PORT]...[,required=false][,timeout=SECONDS][,max_drop=D]";
constexpr size_t kShownText = 200, kShownWord = 64;

const std::map<std::string, std::string>& Accepted() {
  static const RewardTermBounds& bounds = BoundsOfRewardTerms();
  static const auto& accepted = *new std::map<std::string, std::string>{
      {"weight", absl::StrCat("a number from ", bounds.least_weight, " to ", bounds.most_weight, "; 0: a shadow")},
      {"endpoint", "HOST:PORT"},
      {"required", "true or false"},
      {"timeout", absl::StrCat("seconds, from ", bounds.least_timeout_s, " to ", bounds.most_timeout_s)},
      {"max_drop", absl::StrCat("a number from 0 to ", absl::StrFormat("%.0f", bounds.most_drop), "; 0: any fall is fine")}};
  return accepted;
}

std::string IsNo(const std::string& field, const std::string& value) {
  return absl::StrCat("\"", TruncateUtf8(value, kShownWord), "\" is no ", field, " (", Accepted().at(field), ")");
}

// Whether the field of `term` is what it may be by itself.
bool IsWithinBounds(const v1::RewardSpecTerm& term, absl::string_view field) {
  for (const RewardSpecFault& fault : FindRewardTermFaults(term))
    if (fault.field == field) return false;
  return true;
}

// What is wrong with the pair; empty: nothing, and `term` has it.
std::string TakeField(const std::string& field, const std::string& value, v1::RewardSpecTerm& term) {
  double number = 0;
  bool flag = false;
  if (field == "weight") {
    if (!absl::SimpleAtod(value, &number)) return IsNo(field, value);
    term.set_weight(number);
    return IsWithinBounds(term, "weight") ? "" : IsNo(field, value);
  }
  if (field == "timeout") {
    if (!absl::SimpleAtod(value, &number)) return IsNo(field, value);
    term.set_timeout_s(number);
    return IsWithinBounds(term, "timeout_s") ? "" : IsNo(field, value);
  }
  if (field == "max_drop") {
    if (!absl::SimpleAtod(value, &number)) return IsNo(field, value);
    term.set_max_drop(number);
    return IsWithinBounds(term, field) ? "" : IsNo(field, value);
  }
  if (field == "required") {
    if (!absl::SimpleAtob(value, &flag)) return IsNo(field, value);
    term.set_is_required(flag);
    return "";
  }
  if (field == "endpoint") {
    term.set_endpoint(absl::StrCat(term.endpoint(), term.endpoint().empty() ? "" : ",", value));
    if (!value.empty() && IsWithinBounds(term, "endpoint")) return "";
    return IsNo(field, value);
  }
  std::vector<std::string> known;
  for (const auto& [name, what] : Accepted()) known.push_back(name);
  return absl::StrCat("there is no \"", TruncateUtf8(field, kShownWord), "\"", DidYouMean(field, known));
}

}  // namespace

absl::StatusOr<v1::RewardSpecTerm> ParseTerm(const std::string& text) {
  const std::vector<std::string> parts = absl::StrSplit(text, ',');
  v1::RewardSpecTerm term;
  term.set_scorer(parts[0]);
  term.set_weight(1);
  term.set_is_required(true);
  term.set_timeout_s(60);
  std::string wrong;
  if (parts[0].empty() || absl::StrContains(parts[0], '=') || !IsWithinBounds(term, "scorer"))
    wrong = "it begins with no scorer";
  for (size_t i = 1; i < parts.size() && wrong.empty(); ++i) {
    const std::pair<std::string, std::string> pair = absl::StrSplit(parts[i], absl::MaxSplits('=', 1));
    wrong = TakeField(pair.first, pair.second, term);
  }
  if (wrong.empty()) return term;
  return absl::InvalidArgumentError(
      absl::StrCat("reward \"", TruncateUtf8(text, kShownText), "\": ", wrong, "; ", kExpectedTerm));
}

absl::StatusOr<v1::RewardSpecTerm> ParseWeight(const std::string& text) {
  const size_t equals = text.rfind('=');
  v1::RewardSpecTerm term;
  std::string wrong = "it has no =";
  if (equals != std::string::npos) {
    term.set_scorer(text.substr(0, equals));
    wrong = term.scorer().empty() ? "it begins with no scorer" : TakeField("weight", text.substr(equals + 1), term);
  }
  if (wrong.empty()) return term;
  return absl::InvalidArgumentError(
      absl::StrCat("\"", TruncateUtf8(text, kShownText), "\": ", wrong, "; expected SCORER=WEIGHT, e.g. ocr=.5"));
}

}  // namespace flowawr
