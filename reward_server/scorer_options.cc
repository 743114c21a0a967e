#include "reward_server/scorer_options.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/nearest_word.h"
#include "common/base/utf8.h"

namespace flowawr {

const std::vector<std::string>& OptionsOfEveryScorer() {
  static const auto* const names =
      new std::vector<std::string>{"threads", "device", "batch", "wait_ms", "queue", "image_seconds"};
  return *names;
}

std::string ScorerOptions::Text(absl::string_view name, absl::string_view default_value) {
  const std::string* value = Find(name);
  return value == nullptr ? std::string(default_value) : *value;
}

int ScorerOptions::Integer(absl::string_view name, int default_value, int min, int max) {
  const std::string* value = Find(name);
  if (value == nullptr) return default_value;
  int number = 0;
  if (!absl::SimpleAtoi(*value, &number) || number < min || number > max) {
    Refuse(name, *value, absl::StrCat("an integer from ", min, " to ", max));
    return default_value;
  }
  return number;
}

double ScorerOptions::Number(absl::string_view name, double default_value, double min, double max) {
  const std::string* value = Find(name);
  if (value == nullptr) return default_value;
  double number = 0;
  if (!absl::SimpleAtod(*value, &number) || !(number >= min && number <= max)) {
    Refuse(name, *value, absl::StrCat("a number from ", min, " to ", max));
    return default_value;
  }
  return number;
}

bool ScorerOptions::Flag(absl::string_view name, bool default_value) {
  return Choice(name, default_value ? "true" : "false", {"true", "false"}) == "true";
}

std::string ScorerOptions::Choice(absl::string_view name, absl::string_view default_value,
                                  const std::vector<std::string>& choices) {
  const std::string* value = Find(name);
  if (value == nullptr) return std::string(default_value);
  if (std::find(choices.begin(), choices.end(), *value) == choices.end()) {
    Refuse(name, *value, absl::StrCat("one of ", absl::StrJoin(choices, ", "), DidYouMean(*value, choices)));
    return std::string(default_value);
  }
  return *value;
}

absl::Status ScorerOptions::Finish() const {
  if (!status_.ok()) return status_;
  for (const auto& [name, value] : values_) {
    if (std::find(known_.begin(), known_.end(), name) != known_.end()) continue;
    const std::vector<std::string>& of_every = OptionsOfEveryScorer();
    std::vector<std::string> all = known_;
    all.insert(all.end(), of_every.begin(), of_every.end());
    return absl::InvalidArgumentError(absl::StrCat(
        "unknown option ", TruncateUtf8(name, 64), "; ", known_.empty() ? "this kind has none" : "there are ",
        absl::StrJoin(known_, ", "), ", and of every scorer ", absl::StrJoin(of_every, ", "), DidYouMean(name, all)));
  }
  return absl::OkStatus();
}

const std::string* ScorerOptions::Find(absl::string_view name) {
  known_.emplace_back(name);
  const auto it = values_.find(std::string(name));
  return it == values_.end() ? nullptr : &it->second;
}

void ScorerOptions::Refuse(absl::string_view name, absl::string_view value, absl::string_view accepted) {
  if (status_.ok())
    status_ = absl::InvalidArgumentError(
        absl::StrCat("option ", name, "=", TruncateUtf8(value, 100), ": expected ", accepted));
}

}  // namespace flowawr
