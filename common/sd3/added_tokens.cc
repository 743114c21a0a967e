#include "common/sd3/added_tokens.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "common/sd3/unicode.h"

namespace flowawr {
namespace {

size_t SkipWhiteSpace(absl::string_view text, size_t at) {
  while (at < text.size()) {
    size_t next = at;
    if (!IsWhiteSpace(NextCodePoint(text, next))) break;
    at = next;
  }
  return at;
}

// Where the white space that ends text[from, to) begins.
size_t WhiteSpaceBefore(absl::string_view text, size_t from, size_t to) {
  size_t begin = from;
  for (size_t at = from; at < to;)
    if (!IsWhiteSpace(NextCodePoint(text, at))) begin = at;
  return begin;
}

}  // namespace

std::vector<TextPiece> SplitAtTokens(absl::string_view text, const std::vector<AddedToken>& tokens,
                                     bool is_normalized) {
  std::vector<const AddedToken*> candidates;
  for (const AddedToken& token : tokens)
    if (token.is_normalized == is_normalized && !token.content.empty()) candidates.push_back(&token);
  std::vector<TextPiece> pieces;
  size_t done = 0;  // everything before it is in `pieces`
  auto add_text = [&](size_t end) {
    if (end > done) pieces.push_back({text.substr(done, end - done), std::nullopt});
  };
  for (size_t at = 0; at < text.size();) {
    const AddedToken* longest = nullptr;
    for (const AddedToken* token : candidates)
      if (absl::StartsWith(text.substr(at), token->content) &&
          (longest == nullptr || token->content.size() > longest->content.size()))
        longest = token;
    if (longest == nullptr) {
      ++at;
      continue;
    }
    const size_t begin = longest->strips_left ? WhiteSpaceBefore(text, done, at) : at;
    at += longest->content.size();
    if (longest->strips_right) at = SkipWhiteSpace(text, at);
    add_text(begin);
    pieces.push_back({text.substr(begin, at - begin), longest->id});
    done = at;
  }
  add_text(text.size());
  return pieces;
}

}  // namespace flowawr
