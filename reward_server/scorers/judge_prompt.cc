#include "reward_server/scorers/judge_prompt.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace flowawr {
namespace {

constexpr absl::string_view kPrompt = "{prompt}", kField = "{metadata:";

}  // namespace

absl::StatusOr<JudgePrompt> JudgePrompt::Parse(const std::string& text) {
  if (absl::StripAsciiWhitespace(text).empty()) return absl::InvalidArgumentError("the judge's prompt is empty");
  JudgePrompt prompt;
  absl::string_view rest = text;
  while (!rest.empty()) {
    const size_t at = std::min(rest.find(kPrompt), rest.find(kField));
    if (const absl::string_view before = rest.substr(0, at); !before.empty())
      prompt.parts_.push_back({Part::kText, std::string(before)});
    if (at == absl::string_view::npos) break;
    rest.remove_prefix(at);
    if (rest.substr(0, kPrompt.size()) == kPrompt) {
      prompt.parts_.push_back({Part::kPrompt, ""});
      rest.remove_prefix(kPrompt.size());
      continue;
    }
    rest.remove_prefix(kField.size());
    const size_t end = rest.find('}');
    if (end == absl::string_view::npos || end == 0)
      return absl::InvalidArgumentError("the judge's prompt has a {metadata:NAME} without its name or its }");
    prompt.parts_.push_back({Part::kField, std::string(rest.substr(0, end))});
    rest.remove_prefix(end + 1);
  }
  return prompt;
}

absl::StatusOr<std::string> JudgePrompt::Fill(const std::string& prompt,
                                              const std::map<std::string, std::string>& metadata) const {
  std::string text;
  for (const Part& part : parts_) {
    if (part.kind == Part::kText) {
      text += part.text;
    } else if (part.kind == Part::kPrompt) {
      text += prompt;
    } else if (const auto it = metadata.find(part.text); it != metadata.end()) {
      text += it->second;
    } else {
      return absl::InvalidArgumentError(
          absl::StrCat("the prompt has no metadata \"", part.text, "\", which the judge's prompt names"));
    }
  }
  return text;
}

std::vector<std::string> JudgePrompt::fields() const {
  std::vector<std::string> fields;
  for (const Part& part : parts_)
    if (part.kind == Part::kField) fields.push_back(part.text);
  return fields;
}

}  // namespace flowawr
