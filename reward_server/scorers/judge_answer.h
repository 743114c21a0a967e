// From the words of a judge to a reward. Pure; thread-safe.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace flowawr {

// Which number of an answer counts.
struct AnswerRule {
  std::string field;  // of the JSON object in the answer; empty: the last number in the text
  double lowest = 0;  // what becomes reward 0
  double highest = 10;  // what becomes reward 1
};

// (number - lowest) / (highest - lowest). InvalidArgument, with the answer's beginning, when there is no number or it
// lies outside the bounds: an answer that was not understood is no reward.
//
// The last number: "8", "8.5", "8/10", "8 out of 10" and "8 (out of 10)" are 8, where what follows must be the highest.
// A field: from the first { to the last }, which may stand in a fence of ``` or between other words; a number, or text
// that is one.
absl::StatusOr<double> RewardOfAnswer(const std::string& answer, const AnswerRule& rule);

// The model's text and what it cost, from the body of a chat completion.
struct Completion {
  std::string text;
  bool was_cut = false;  // by max_tokens
  double prompt_tokens = 0;
  double completion_tokens = 0;
};
// InvalidArgument for anything else: HTML, half a JSON, an object without choices.
absl::StatusOr<Completion> ParseCompletion(const std::string& body);

// What went wrong, from the body of an answer that is none: OpenAI's error.message, else the body's beginning.
std::string ErrorOfBody(const std::string& body);

}  // namespace flowawr
