#include "cli/text_lines.h"

#include <unicode/uchar.h>
#include <unicode/utf8.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/utf8.h"

namespace flowawr {
namespace {

constexpr int kLeastWidth = 8;

int ColumnsOf(UChar32 character) {
  const int8_t type = u_charType(character);
  if (type == U_NON_SPACING_MARK || type == U_ENCLOSING_MARK || type == U_FORMAT_CHAR) return 0;
  const int width = u_getIntPropertyValue(character, UCHAR_EAST_ASIAN_WIDTH);
  return width == U_EA_WIDE || width == U_EA_FULLWIDTH ? 2 : 1;
}

// The character at `*at`, which moves behind it.
UChar32 Next(absl::string_view text, size_t* at) {
  UChar32 character;
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  U8_NEXT(bytes, *at, text.size(), character);
  return character;
}

// `text` without what a terminal would obey: control characters are spaces.
std::string Printable(absl::string_view text) {
  const std::string valid = SanitizeUtf8(text);
  std::string printable;
  for (size_t at = 0; at < valid.size();) {
    const size_t begin = at;
    if (u_charType(Next(valid, &at)) == U_CONTROL_CHAR)
      printable += ' ';
    else
      printable.append(valid, begin, at - begin);
  }
  return printable;
}

// How many bytes of `text` the first line takes.
size_t FirstLine(absl::string_view text, int width) {
  int columns = 0;
  size_t at = 0, word_end = 0;
  while (at < text.size()) {
    const size_t begin = at;
    const UChar32 character = Next(text, &at);
    if (character == ' ' && begin > 0 && text[begin - 1] != ' ') word_end = begin;
    columns += ColumnsOf(character);
    if (columns > width) return word_end > 0 ? word_end : std::max(begin, size_t{1});
  }
  return text.size();
}

}  // namespace

int DisplayColumns(absl::string_view text) {
  const std::string valid = SanitizeUtf8(text);
  int columns = 0;
  for (size_t at = 0; at < valid.size();) columns += ColumnsOf(Next(valid, &at));
  return columns;
}

std::vector<std::string> WrapText(absl::string_view text, int width, int indent) {
  width = std::max(width, kLeastWidth);
  indent = std::min(indent, width / 2);
  const std::string printable = Printable(text);
  absl::string_view rest = printable;
  std::vector<std::string> lines;
  do {
    const int margin = lines.empty() ? 0 : indent;
    const size_t end = FirstLine(rest, width - margin);
    lines.push_back(absl::StrCat(std::string(margin, ' '), rest.substr(0, end)));
    rest.remove_prefix(end);
    rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
  } while (!rest.empty());
  return lines;
}

}  // namespace flowawr
