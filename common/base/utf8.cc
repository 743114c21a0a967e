#include "common/base/utf8.h"

#include "absl/strings/str_cat.h"
#include "unicode/utf8.h"

namespace flowawr {
namespace {

constexpr absl::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD
constexpr absl::string_view kMark = "...";

// The character that begins at `at`, which moves behind it; nullopt for a malformed sequence.
std::optional<absl::string_view> NextCharacter(absl::string_view text, size_t& at) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  const size_t begin = at;
  auto position = static_cast<int64_t>(at);
  const auto size = static_cast<int64_t>(text.size());
  UChar32 character = 0;
  U8_NEXT(bytes, position, size, character);
  at = static_cast<size_t>(position);
  if (character < 0) return std::nullopt;
  return text.substr(begin, at - begin);
}

}  // namespace

std::optional<size_t> FindInvalidUtf8(absl::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    if (!NextCharacter(text, at)) return begin;
  }
  return std::nullopt;
}

bool IsValidUtf8(absl::string_view text) { return !FindInvalidUtf8(text).has_value(); }

std::string SanitizeUtf8(absl::string_view text) {
  const std::optional<size_t> bad = FindInvalidUtf8(text);
  if (!bad.has_value()) return std::string(text);
  std::string clean(text.substr(0, *bad));
  for (size_t at = *bad; at < text.size();) absl::StrAppend(&clean, NextCharacter(text, at).value_or(kReplacement));
  return clean;
}

std::string TruncateUtf8(absl::string_view text, size_t max_bytes) {
  std::string clean;
  size_t end_with_mark = 0;  // where to cut so that the mark still fits
  for (size_t at = 0; at < text.size();) {
    const absl::string_view character = NextCharacter(text, at).value_or(kReplacement);
    if (clean.size() + character.size() > max_bytes) {
      if (max_bytes < kMark.size()) return clean;
      clean.resize(end_with_mark);
      return absl::StrCat(clean, kMark);
    }
    absl::StrAppend(&clean, character);
    if (clean.size() + kMark.size() <= max_bytes) end_with_mark = clean.size();
  }
  return clean;
}

}  // namespace flowawr
