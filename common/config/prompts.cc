#include "common/config/prompts.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "common/base/utf8.h"
#include "nlohmann/json.hpp"

namespace flowawr {
namespace {

constexpr size_t kMaxFileBytes = size_t{256} << 20;
constexpr size_t kMaxLineBytes = 64 << 10;
constexpr size_t kMaxPromptBytes = 8 << 10;

absl::StatusOr<v1::Prompt> ParseJsonLine(absl::string_view line) {
  const nlohmann::json object = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object())
    return absl::InvalidArgumentError(R"(expected one JSON object, e.g. {"prompt": "a red cube", "target": "CAT"})");
  const auto text = object.find("prompt");
  if (text == object.end()) return absl::InvalidArgumentError("the field \"prompt\" is missing");
  if (!text->is_string()) return absl::InvalidArgumentError("the field \"prompt\" must be a string");
  v1::Prompt prompt;
  prompt.set_text(std::string(absl::StripAsciiWhitespace(text->get_ref<const std::string&>())));
  for (const auto& [name, value] : object.items())
    if (name != "prompt")
      (*prompt.mutable_metadata())[name] = value.is_string() ? value.get<std::string>() : value.dump();
  return prompt;
}

absl::StatusOr<v1::Prompt> ParseTextLine(absl::string_view line) {
  if (absl::StartsWith(line, "{") && ParseJsonLine(line).ok())
    return absl::InvalidArgumentError("this is a JSON line; name a file of JSON lines *.jsonl");
  v1::Prompt prompt;
  prompt.set_text(std::string(line));
  return prompt;
}

absl::StatusOr<v1::Prompt> ParseLine(absl::string_view line, bool is_json) {
  if (line.size() > kMaxLineBytes)
    return absl::InvalidArgumentError(absl::StrCat("the line has ", line.size(), " bytes; at most ", kMaxLineBytes));
  if (const auto bad = FindInvalidUtf8(line); bad.has_value())
    return absl::InvalidArgumentError(absl::StrCat("byte ", *bad + 1, " is not UTF-8; save the file as UTF-8"));
  FLOWAWR_ASSIGN_OR_RETURN(v1::Prompt prompt, is_json ? ParseJsonLine(line) : ParseTextLine(line));
  if (prompt.text().empty()) return absl::InvalidArgumentError("the prompt is empty");
  if (prompt.text().size() > kMaxPromptBytes)
    return absl::InvalidArgumentError(
        absl::StrCat("the prompt has ", prompt.text().size(), " bytes; at most ", kMaxPromptBytes));
  return prompt;
}

}  // namespace

absl::StatusOr<std::vector<v1::Prompt>> LoadPrompts(const std::string& path) {
  FLOWAWR_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path, kMaxFileBytes));
  const bool is_json = absl::EndsWithIgnoreCase(path, ".jsonl");
  absl::string_view text = bytes;
  absl::ConsumePrefix(&text, "\xEF\xBB\xBF");
  std::vector<v1::Prompt> prompts;
  int line_number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++line_number;
    line = absl::StripAsciiWhitespace(line);
    if (line.empty() || (!is_json && absl::StartsWith(line, "#"))) continue;
    absl::StatusOr<v1::Prompt> prompt = ParseLine(line, is_json);
    if (!prompt.ok()) return Annotate(prompt.status(), absl::StrCat(path, ":", line_number));
    prompt->set_index(prompts.size());
    prompts.push_back(*std::move(prompt));
  }
  if (prompts.empty()) return absl::InvalidArgumentError(absl::StrCat(path, ": holds no prompt"));
  return prompts;
}

}  // namespace flowawr
