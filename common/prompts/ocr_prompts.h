// Prompts that ask for a text in the picture, for the OCR reward: a sign that says "CAT".
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/prompts/draw.h"
#include "flowawr/v1/rollout.pb.h"

namespace flowawr {

// One template: a sign that says "{}". What the embedded models/tiny-sd3 knows.
std::vector<std::string> SignTemplates();
// A dozen scenes in which there is something to read.
std::vector<std::string> SceneTemplates();

struct OcrPromptOptions {
  // What the texts are: `words`, or where there are none, random ones of `letters`, from `least_length` to
  // `most_length` letters, as many of each length.
  std::vector<std::string> words;
  std::string letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
  int least_length = 3, most_length = 3;
  std::vector<std::string> templates = SignTemplates();  // {} stands for the text, within double quotes
};

// A task a length, or one of all words: every text in every template. A prompt's key is its text in lower case, so that
// no held-out text is trained on in whatever template. InvalidArgument for options that make no prompts which the OCR
// reward can score: a template without "{}" in double quotes or with others before it, a text with a double quote or
// without anything to see, letters that are not printable ASCII or are there twice.
absl::StatusOr<std::vector<PromptTask>> OcrTasks(const OcrPromptOptions& options);

// The key of a prompt that a file holds: its `target`, else its first text in straight double quotes.
std::string OcrKey(const v1::Prompt& prompt);

}  // namespace flowawr
