// Tokens that are found in the text itself, before any other rule: special tokens such as <|endoftext|>.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace flowawr {

struct AddedToken {
  std::string content;
  int64_t id = -1;             // -1: to be looked up in, or appended to, the vocabulary
  bool is_normalized = false;  // looked for in the normalized text instead of the raw one
  bool strips_left = false;    // takes the white space before it along
  bool strips_right = false;
};

// A stretch of text: a token, or text between tokens.
struct TextPiece {
  absl::string_view text;
  std::optional<int64_t> token_id;
};

// Splits `text` at the tokens whose is_normalized is `is_normalized`; leftmost first, of several the longest, as the
// `tokenizers` library does. The pieces are views of `text`, none is empty.
std::vector<TextPiece> SplitAtTokens(absl::string_view text, const std::vector<AddedToken>& tokens, bool is_normalized);

}  // namespace flowawr
