// SentencePiece's precompiled normalization rules, applied as the `tokenizers` library applies them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace flowawr {

// Immutable and thread-safe.
class PrecompiledCharsmap {
 public:
  // Empty `bytes` are no rules. InvalidArgument, beginning with `name`, for damaged ones.
  static absl::StatusOr<PrecompiledCharsmap> Parse(absl::string_view bytes, absl::string_view name);

  // `text` is valid UTF-8. A grapheme of less than six bytes that begins with a rule's text is replaced as a whole,
  // otherwise each code point that is a rule's text is. (SentencePiece itself takes the longest match instead.)
  std::string Normalize(absl::string_view text) const;

 private:
  // The shortest rule that `text` begins with: its replacement, or null.
  const char* Find(absl::string_view text) const;

  std::vector<uint32_t> trie_;  // a Darts double array
  std::string replacements_;    // NUL-terminated, back to back; ends with a NUL
};

}  // namespace flowawr
