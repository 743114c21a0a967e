#include "reward_server/scorers/geneval_task.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/nearest_word.h"
#include "common/base/status.h"
#include "common/base/utf8.h"
#include "common/tensor/strict_json.h"

namespace flowawr {
namespace {

using Json = nlohmann::json;

constexpr std::array<const char*, 4> kRelations = {"left of", "right of", "above", "below"};
constexpr std::array<const char*, 6> kTags = {"single_object", "two_object", "counting",
                                              "colors",        "position",   "color_attr"};
constexpr std::array<std::pair<const char*, const char*>, 3> kAliases = {
    {{"computer mouse", "mouse"}, {"tv remote", "remote"}, {"computer keyboard", "keyboard"}}};
constexpr int64_t kMostExcluded = 1000;
constexpr size_t kMostClauses = 64;

template <size_t N>
std::vector<std::string> Words(const std::array<const char*, N>& words) {
  return {words.begin(), words.end()};
}

std::string Shown(const Json& value) {
  return TruncateUtf8(value.dump(-1, ' ', false, Json::error_handler_t::replace), 100);
}

absl::Status Wrong(absl::string_view where, absl::string_view complaint) {
  return absl::InvalidArgumentError(absl::StrCat(where, ": ", complaint));
}

// One of `words`, by its index.
template <size_t N>
absl::StatusOr<size_t> IndexOf(const Json& value, const std::array<const char*, N>& words, const std::string& where) {
  const std::vector<std::string> known = Words(words);
  const std::string word = value.is_string() ? value.get<std::string>() : "";
  const auto found = std::find(known.begin(), known.end(), word);
  if (found == known.end())
    return Wrong(where, absl::StrCat("expected one of ", absl::StrJoin(known, ", "), "; it is ", Shown(value),
                                     DidYouMean(word, known)));
  return static_cast<size_t>(found - known.begin());
}

absl::StatusOr<int64_t> CountOf(const Json& clause, const std::string& where, int64_t most) {
  const auto found = clause.find("count");
  if (found == clause.end()) return Wrong(where, "no count");
  // Bounded as a double first: unsigned numbers beyond int64 would wrap.
  if (!found->is_number_integer() || found->get<double>() < 1 || found->get<double>() > static_cast<double>(most))
    return Wrong(where, absl::StrCat("count must be a whole number from 1 to ", most, "; it is ", Shown(*found)));
  return found->get<int64_t>();
}

absl::StatusOr<GenevalPosition> PositionOf(const Json& value, size_t index, const std::string& where) {
  if (!value.is_array() || value.size() != 2 || !value[1].is_number_integer())
    return Wrong(where, absl::StrCat("position must be [relation, number of an earlier clause]; it is ", Shown(value)));
  GenevalPosition position;
  FLOWAWR_ASSIGN_OR_RETURN(const size_t relation, IndexOf(value[0], kRelations, where + ": relation"));
  position.relation = static_cast<GenevalRelation>(relation);
  if (value[1].get<double>() < 0 || value[1].get<double>() >= static_cast<double>(index))
    return Wrong(where, absl::StrCat("position is relative to clause ", Shown(value[1]),
                                     ", which must be one before this clause, ", index));
  position.target = value[1].get<size_t>();
  return position;
}

absl::StatusOr<GenevalClause> ParseClause(const Json& json, size_t index, bool is_exclude,
                                          const GenevalClasses& classes, const std::string& where) {
  if (!json.is_object()) return Wrong(where, absl::StrCat("expected an object; it is ", Shown(json)));
  GenevalClause clause;
  const auto name = json.find("class");
  if (name == json.end() || !name->is_string()) return Wrong(where, "no class");
  clause.name = name->get<std::string>();
  const auto label = classes.LabelOf(clause.name);
  if (!label.ok()) return Annotate(label.status(), where);
  clause.label = *label;
  FLOWAWR_ASSIGN_OR_RETURN(clause.count, CountOf(json, where, is_exclude ? kMostExcluded : kMostGenevalObjects));
  for (const auto& [field, value] : json.items()) {
    if (field == "class" || field == "count" || value.is_null()) continue;
    if (field == "color" && !is_exclude) {
      FLOWAWR_ASSIGN_OR_RETURN(const size_t colour, IndexOf(value, kGenevalColours, where + ": color"));
      clause.colour = kGenevalColours[colour];
    } else if (field == "position" && !is_exclude) {
      FLOWAWR_ASSIGN_OR_RETURN(clause.position, PositionOf(value, index, where));
    } else {
      std::vector<std::string> known = {"class", "count"};
      if (!is_exclude) known.insert(known.end(), {"color", "position"});
      return Wrong(where, absl::StrCat("unknown field \"", TruncateUtf8(field, 64), "\"; there are ",
                                       absl::StrJoin(known, ", "), DidYouMean(field, known)));
    }
  }
  return clause;
}

absl::StatusOr<std::vector<GenevalClause>> ParseClauses(const std::string& text, const std::string& field,
                                                        const GenevalClasses& classes) {
  FLOWAWR_ASSIGN_OR_RETURN(const Json json, ParseStrictJson(text, field));
  if (!json.is_array() || json.size() > kMostClauses)
    return Wrong(field, absl::StrCat("expected a list of at most ", kMostClauses, " clauses; it is ", Shown(json)));
  std::vector<GenevalClause> clauses;
  for (size_t i = 0; i < json.size(); ++i) {
    FLOWAWR_ASSIGN_OR_RETURN(GenevalClause clause, ParseClause(json[i], i, field == "exclude", classes,
                                                               absl::StrCat(field, "[", i, "]")));
    clauses.push_back(std::move(clause));
  }
  return clauses;
}

}  // namespace

const char* NameOf(GenevalRelation relation) { return kRelations[static_cast<size_t>(relation)]; }

GenevalClasses::GenevalClasses(std::vector<std::string> names) : names_(std::move(names)) {
  for (size_t i = 0; i < names_.size(); ++i) labels_.emplace(names_[i], static_cast<int64_t>(i));
  for (const auto& [one, other] : kAliases) {
    if (const auto found = labels_.find(other); found != labels_.end()) labels_.emplace(one, found->second);
    if (const auto found = labels_.find(one); found != labels_.end()) labels_.emplace(other, found->second);
  }
}

absl::StatusOr<int64_t> GenevalClasses::LabelOf(const std::string& name) const {
  const auto found = labels_.find(name);
  if (found != labels_.end()) return found->second;
  std::vector<std::string> known;
  for (const auto& [word, label] : labels_) known.push_back(word);
  return absl::InvalidArgumentError(absl::StrCat("the detector knows no class \"", TruncateUtf8(name, 64), "\"",
                                                 DidYouMean(name, known)));
}

absl::StatusOr<GenevalTask> ParseGenevalTask(const std::map<std::string, std::string>& metadata,
                                             const GenevalClasses& classes) {
  const auto tag = metadata.find("tag"), include = metadata.find("include"), exclude = metadata.find("exclude");
  if (tag == metadata.end() || include == metadata.end())
    return absl::InvalidArgumentError(absl::StrCat(
        "the prompt's metadata has no ", tag == metadata.end() ? "tag" : "include",
        R"(; GenEval's lines are {"tag": ..., "include": [{"class": ..., "count": ...}], "prompt": ...})"));
  GenevalTask task;
  FLOWAWR_ASSIGN_OR_RETURN(const size_t known_tag, IndexOf(Json(tag->second), kTags, "tag"));
  task.tag = kTags[known_tag];
  FLOWAWR_ASSIGN_OR_RETURN(task.include, ParseClauses(include->second, "include", classes));
  if (task.include.empty()) return Wrong("include", "no clauses: every picture would do");
  if (exclude != metadata.end()) {
    FLOWAWR_ASSIGN_OR_RETURN(task.exclude, ParseClauses(exclude->second, "exclude", classes));
  }
  return task;
}

}  // namespace flowawr
