#include "reward_server/scorers/judge_answer.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/base/status.h"
#include "common/base/utf8.h"
#include "re2/re2.h"

namespace flowawr {
namespace {

using Json = nlohmann::json;

constexpr size_t kShownBytes = 200;

std::string Beginning(absl::string_view text) {
  return absl::StrReplaceAll(TruncateUtf8(absl::StripAsciiWhitespace(text), kShownBytes), {{"\n", " "}});
}

absl::StatusOr<double> LastNumber(const std::string& answer, double highest) {
  static const RE2 number(R"(([-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)(?:\s*[(\[]?\s*(?:/|out of)\s*(\d+(?:\.\d+)?))?)");
  re2::StringPiece left(answer);
  std::string found, of, last, last_of;
  while (RE2::FindAndConsume(&left, number, &found, &of)) {
    last = found;
    last_of = of;
  }
  double value = 0, most = highest;
  if (last.empty() || !absl::SimpleAtod(last, &value)) return absl::InvalidArgumentError("it holds no number");
  if (!last_of.empty() && (!absl::SimpleAtod(last_of, &most) || most != highest))
    return absl::InvalidArgumentError(
        absl::StrCat("it rates ", last, " of ", last_of, ", but the highest is ", highest));
  return value;
}

absl::StatusOr<double> FieldOf(const std::string& answer, const std::string& field) {
  const size_t begin = answer.find('{'), end = answer.rfind('}');
  if (begin == std::string::npos || end == std::string::npos || end < begin)
    return absl::InvalidArgumentError("it holds no JSON object");
  const Json object = Json::parse(answer.substr(begin, end - begin + 1), nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return absl::InvalidArgumentError("its JSON is broken");
  const auto it = object.find(field);
  if (it == object.end()) return absl::InvalidArgumentError(absl::StrCat("its JSON has no \"", field, "\""));
  if (it->is_number()) return it->get<double>();
  double value = 0;
  if (it->is_string() && absl::SimpleAtod(it->get<std::string>(), &value)) return value;
  return absl::InvalidArgumentError(absl::StrCat("its \"", field, "\" is no number"));
}

double CountIn(const Json& completion, const char* name) {
  const auto usage = completion.find("usage");
  if (usage == completion.end() || !usage->is_object()) return 0;
  const auto count = usage->find(name);
  return count != usage->end() && count->is_number() ? std::max(count->get<double>(), 0.0) : 0;
}

}  // namespace

absl::StatusOr<double> RewardOfAnswer(const std::string& answer, const AnswerRule& rule) {
  absl::StatusOr<double> value =
      rule.field.empty() ? LastNumber(answer, rule.highest) : FieldOf(answer, rule.field);
  if (value.ok() && !(*value >= rule.lowest && *value <= rule.highest))
    value = absl::InvalidArgumentError(
        absl::StrCat("it rates ", *value, ", outside of ", rule.lowest, " to ", rule.highest));
  if (!value.ok())
    return absl::InvalidArgumentError(
        absl::StrCat("the judge's answer is no rating: ", value.status().message(), ": \"", Beginning(answer), "\""));
  return (*value - rule.lowest) / (rule.highest - rule.lowest);
}

absl::StatusOr<Completion> ParseCompletion(const std::string& body) {
  const Json object = Json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (object.is_discarded())
    return absl::InvalidArgumentError(absl::StrCat("the judge's answer is not JSON: \"", Beginning(body), "\""));
  try {
    const Json& choice = object.at("choices").at(0);
    Completion completion;
    const Json& content = choice.at("message").at("content");
    if (!content.is_null()) completion.text = content.get<std::string>();
    completion.was_cut = choice.value("finish_reason", Json()) == "length";
    completion.prompt_tokens = CountIn(object, "prompt_tokens");
    completion.completion_tokens = CountIn(object, "completion_tokens");
    return completion;
  } catch (const Json::exception&) {
    return absl::InvalidArgumentError(
        absl::StrCat("the judge's answer is no chat completion: \"", Beginning(body), "\""));
  }
}

std::string ErrorOfBody(const std::string& body) {
  const Json object = Json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (object.is_object()) {
    if (const auto error = object.find("error"); error != object.end() && error->is_object())
      if (const auto message = error->find("message"); message != error->end() && message->is_string())
        return Beginning(message->get<std::string>());
  }
  return Beginning(body);
}

}  // namespace flowawr
