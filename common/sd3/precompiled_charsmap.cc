#include "common/sd3/precompiled_charsmap.h"

#include <unicode/brkiter.h>
#include <unicode/utext.h>

#include <memory>

#include "absl/base/internal/endian.h"
#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "common/sd3/unicode.h"

namespace flowawr {
namespace {

// A unit of the double array.
bool HasLeaf(uint32_t unit) { return (unit >> 8 & 1) != 0; }
uint32_t ValueOf(uint32_t unit) { return unit & 0x7fffffff; }
uint32_t LabelOf(uint32_t unit) { return unit & 0x800000ff; }
uint32_t OffsetOf(uint32_t unit) { return unit >> 10 << ((unit & 0x200) >> 6); }

}  // namespace

absl::StatusOr<PrecompiledCharsmap> PrecompiledCharsmap::Parse(absl::string_view bytes, absl::string_view name) {
  PrecompiledCharsmap charsmap;
  charsmap.replacements_.assign(1, '\0');
  if (bytes.empty()) return charsmap;
  const uint32_t trie_bytes = bytes.size() < 4 ? 0 : absl::little_endian::Load32(bytes.data());
  if (trie_bytes == 0 || trie_bytes % 4 != 0 || trie_bytes > bytes.size() - 4)
    return absl::InvalidArgumentError(absl::StrCat(name, ": damaged normalization rules (precompiled_charsmap)"));
  for (uint32_t at = 0; at < trie_bytes; at += 4)
    charsmap.trie_.push_back(absl::little_endian::Load32(bytes.data() + 4 + at));
  charsmap.replacements_ = std::string(bytes.substr(4 + trie_bytes));
  charsmap.replacements_ += '\0';
  return charsmap;
}

const char* PrecompiledCharsmap::Find(absl::string_view text) const {
  if (trie_.empty()) return nullptr;
  size_t node = OffsetOf(trie_[0]);
  for (const char c : text) {
    const auto label = static_cast<unsigned char>(c);
    node ^= label;
    if (label == 0 || node >= trie_.size() || LabelOf(trie_[node]) != label) return nullptr;
    const uint32_t unit = trie_[node];
    node ^= OffsetOf(unit);
    if (!HasLeaf(unit)) continue;
    if (node >= trie_.size() || ValueOf(trie_[node]) >= replacements_.size()) return nullptr;
    return replacements_.data() + ValueOf(trie_[node]);
  }
  return nullptr;
}

std::string PrecompiledCharsmap::Normalize(absl::string_view text) const {
  UErrorCode error = U_ZERO_ERROR;
  UText* view = utext_openUTF8(nullptr, text.data(), text.size(), &error);
  absl::Cleanup close_view = [view] { utext_close(view); };
  const std::unique_ptr<icu::BreakIterator> graphemes(
      icu::BreakIterator::createCharacterInstance(icu::Locale::getRoot(), error));
  graphemes->setText(view, error);
  std::string result;
  int begin = graphemes->first();
  for (int end = graphemes->next(); end != icu::BreakIterator::DONE; begin = end, end = graphemes->next()) {
    const absl::string_view grapheme = text.substr(begin, end - begin);
    if (const char* whole = grapheme.size() < 6 ? Find(grapheme) : nullptr; whole != nullptr) {
      result += whole;
      continue;
    }
    for (size_t at = 0; at < grapheme.size();) {
      const size_t from = at;
      NextCodePoint(grapheme, at);
      const absl::string_view character = grapheme.substr(from, at - from);
      const char* replacement = Find(character);
      if (replacement != nullptr) {
        result += replacement;
      } else {
        result.append(character.data(), character.size());
      }
    }
  }
  return result;
}

}  // namespace flowawr
