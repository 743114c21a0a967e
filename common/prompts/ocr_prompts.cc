#include "common/prompts/ocr_prompts.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/base/quoted_text.h"
#include "common/base/status.h"
#include "common/base/utf8.h"

namespace flowawr {
namespace {

constexpr int kMostLetters = 12;  // of a random text
constexpr size_t kMostBytes = 256;

absl::Status CheckTemplate(const std::string& text) {
  const size_t quote = text.find('"');
  if (quote != text.npos && absl::StartsWith(absl::string_view(text).substr(quote), "\"{}\"") && IsValidUtf8(text) &&
      text.find('\n') == text.npos)
    return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "template ", SanitizeUtf8(text), ": expected one line whose first double quotes are \"{}\", the text's place, "
      "e.g. a poster that reads \"{}\""));
}

absl::Status CheckWord(const std::string& word) {
  if (!IsValidUtf8(word)) return absl::InvalidArgumentError("it is not UTF-8");
  if (absl::StrContains(word, '"')) return absl::InvalidArgumentError("it holds a double quote, which would end it");
  if (word.size() > kMostBytes)
    return absl::InvalidArgumentError(absl::StrCat("it has ", word.size(), " bytes; at most ", kMostBytes));
  if (absl::StripAsciiWhitespace(word).empty()) return absl::InvalidArgumentError("it is empty");
  if (std::any_of(word.begin(), word.end(), absl::ascii_iscntrl))
    return absl::InvalidArgumentError("it holds a control character");
  return absl::OkStatus();
}

absl::Status CheckLetters(const OcrPromptOptions& options) {
  std::string sorted = options.letters;
  std::sort(sorted.begin(), sorted.end());
  const bool is_plain = std::all_of(sorted.begin(), sorted.end(),
                                    [](char letter) { return absl::ascii_isgraph(letter) && letter != '"'; });
  if (sorted.empty() || !is_plain || std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end())
    return absl::InvalidArgumentError("the letters: expected different visible ASCII characters, and no double quote");
  if (options.least_length < 1 || options.most_length < options.least_length || options.most_length > kMostLetters)
    return absl::InvalidArgumentError(absl::StrCat("the length of a text: expected 1 to ", kMostLetters,
                                                   " letters, the least before the most"));
  return absl::OkStatus();
}

DrawnPrompt Make(const std::string& pattern, const std::string& word) {
  DrawnPrompt prompt;
  prompt.text = absl::StrReplaceAll(pattern, {{"{}", word}});
  prompt.record = {{"prompt", prompt.text}, {"target", word}};
  prompt.keys = {absl::AsciiStrToLower(word)};
  return prompt;
}

std::string RandomWord(const std::string& letters, int length, uint64_t index) {
  std::string word;
  for (int i = 0; i < length; ++i) {
    word += letters[index % letters.size()];
    index /= letters.size();
  }
  return word;
}

}  // namespace

std::vector<std::string> SignTemplates() { return {"a sign that says \"{}\""}; }

std::vector<std::string> SceneTemplates() {
  return {"a wooden sign on a garden fence that says \"{}\"",
          "a shop window at night with \"{}\" in neon letters",
          "the cover of an old book with the title \"{}\" in gold",
          "a chalkboard outside a cafe on which \"{}\" is written",
          "a white coffee mug with the word \"{}\" printed on it",
          "a street poster that reads \"{}\" in bold type",
          "a birthday cake with \"{}\" in icing",
          "a road sign in the desert showing \"{}\"",
          "a brick wall with the graffiti \"{}\"",
          "a laptop screen that shows \"{}\" in large letters",
          "a T-shirt with \"{}\" across the chest",
          "a train station board announcing \"{}\""};
}

absl::StatusOr<std::vector<PromptTask>> OcrTasks(const OcrPromptOptions& options) {
  if (options.templates.empty()) return absl::InvalidArgumentError("no template to put texts in");
  for (const std::string& text : options.templates) FLOWAWR_RETURN_IF_ERROR(CheckTemplate(text));
  const std::vector<std::string> templates = options.templates;
  const uint64_t count = templates.size();
  if (!options.words.empty()) {
    auto words = std::make_shared<std::vector<std::string>>();
    absl::flat_hash_set<std::string> seen;
    for (const std::string& word : options.words) {
      FLOWAWR_RETURN_IF_ERROR(Annotate(CheckWord(word), absl::StrCat("text \"", TruncateUtf8(word, 64), "\"")));
      if (seen.insert(word).second) words->push_back(word);
    }
    return std::vector<PromptTask>{{"texts", 1, count * words->size(), [=](uint64_t index) {
                                      return Make(templates[index % count], (*words)[index / count]);
                                    }}};
  }
  FLOWAWR_RETURN_IF_ERROR(CheckLetters(options));
  std::vector<PromptTask> tasks;
  uint64_t size = count;
  for (int length = 1; length <= options.most_length; ++length) {
    if (size > UINT64_MAX / 2 / options.letters.size())
      return absl::InvalidArgumentError(absl::StrCat("there are too many texts of ", length, " letters to count"));
    size *= options.letters.size();
    if (length < options.least_length) continue;
    tasks.push_back({absl::StrCat(length, length == 1 ? " letter" : " letters"), 1, size,
                     [=, letters = options.letters](uint64_t index) {
                       return Make(templates[index % count], RandomWord(letters, length, index / count));
                     }});
  }
  return tasks;
}

std::string OcrKey(const v1::Prompt& prompt) {
  const auto target = prompt.metadata().find("target");
  if (target != prompt.metadata().end()) return absl::AsciiStrToLower(target->second);
  const auto quoted = FirstQuoted(prompt.text());
  return quoted.has_value() ? absl::AsciiStrToLower(*quoted) : prompt.text();
}

}  // namespace flowawr
