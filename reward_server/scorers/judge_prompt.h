// The words that a judge gets with a picture. Immutable; thread-safe.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace flowawr {

// A text with {prompt}, the picture's prompt, and {metadata:NAME}, a field of its metadata. Other braces are text.
class JudgePrompt {
 public:
  // InvalidArgument for a text without anything but blanks, or with a {metadata:...} that is not closed.
  static absl::StatusOr<JudgePrompt> Parse(const std::string& text);

  // InvalidArgument when a field is missing that the text names.
  absl::StatusOr<std::string> Fill(const std::string& prompt, const std::map<std::string, std::string>& metadata) const;
  // The fields that it names.
  std::vector<std::string> fields() const;

 private:
  struct Part {
    enum Kind { kText, kPrompt, kField } kind;
    std::string text;  // or the field's name
  };
  std::vector<Part> parts_;
};

}  // namespace flowawr
