#include "reward_server/scorers/mended_text.h"

#include <unicode/normalizer2.h>
#include <unicode/unistr.h>

#include <cstdint>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"
#include "common/sd3/unicode.h"

namespace flowawr {
namespace {

struct Entity {
  const char* name;
  UChar32 character;
};
constexpr Entity kEntities[] = {{"amp", '&'}, {"lt", '<'}, {"gt", '>'}, {"quot", '"'}, {"apos", '\''}, {"nbsp", 0xa0}};
constexpr size_t kLongestEntity = 10;  // between & and ;
constexpr int kMostPasses = 8;         // ftfy goes on until nothing changes

// What stands for `name`, as in "&name;".
std::optional<UChar32> CharacterOf(absl::string_view name) {
  for (const Entity& entity : kEntities)
    if (name == entity.name) return entity.character;
  if (!absl::ConsumePrefix(&name, "#")) return std::nullopt;
  uint32_t code = 0;
  const bool is_hexadecimal = absl::ConsumePrefix(&name, "x") || absl::ConsumePrefix(&name, "X");
  const bool is_number = is_hexadecimal ? absl::SimpleHexAtoi(name, &code) : absl::SimpleAtoi(name, &code);
  if (!is_number) return std::nullopt;
  const bool is_character = code != 0 && code <= 0x10ffff && !(code >= 0xd800 && code <= 0xdfff);
  return is_character ? code : 0xfffd;
}

std::string WithoutEntities(absl::string_view text) {
  std::string out;
  while (!text.empty()) {
    const size_t end = text[0] == '&' ? text.substr(0, kLongestEntity + 2).find(';') : text.npos;
    const std::optional<UChar32> character = end == text.npos ? std::nullopt : CharacterOf(text.substr(1, end - 1));
    if (character) {
      AppendCodePoint(*character, out);
      text.remove_prefix(end + 1);
    } else {
      out.push_back(text[0]);
      text.remove_prefix(1);
    }
  }
  return out;
}

bool IsControl(UChar32 c) {
  return c < 0x09 || c == 0x0b || (c >= 0x0e && c < 0x20) || c == 0x7f || (c >= 0x206a && c < 0x2070) || c == 0xfeff ||
         (c >= 0xfff9 && c < 0xfffd);
}

constexpr std::pair<UChar32, const char*> kLigatures[] = {
    {0x0132, "IJ"},      {0x0133, "ij"},      {0x0149, "\u02bcn"}, {0x01f1, "DZ"}, {0x01f2, "Dz"}, {0x01f3, "dz"},
    {0x01c4, "D\u017d"}, {0x01c5, "D\u017e"}, {0x01c6, "d\u017e"}, {0x01c7, "LJ"}, {0x01c8, "Lj"}, {0x01c9, "lj"},
    {0x01ca, "NJ"},      {0x01cb, "Nj"},      {0x01cc, "nj"},      {0xfb00, "ff"}, {0xfb01, "fi"}, {0xfb02, "fl"},
    {0xfb03, "ffi"},     {0xfb04, "ffl"},     {0xfb05, "\u017ft"}, {0xfb06, "st"}};

void AppendUncurled(UChar32 c, std::string& out) {
  if (c == 0x02bc || (c >= 0x2018 && c <= 0x201b)) c = '\'';
  if (c >= 0x201c && c <= 0x201f) c = '"';
  if (!IsControl(c)) AppendCodePoint(c, out);
}

void AppendMended(UChar32 c, std::string& out) {
  for (const auto& [ligature, letters] : kLigatures) {
    if (c != ligature) continue;
    for (size_t at = 0; letters[at] != '\0';) AppendUncurled(NextCodePoint(letters, at), out);
    return;
  }
  if (c == 0x3000) c = ' ';
  if (c > 0xff00 && c < 0xfff0) {
    UErrorCode error = U_ZERO_ERROR;
    const icu::Normalizer2* nfkc = icu::Normalizer2::getNFKCInstance(error);
    std::string wide;
    if (U_SUCCESS(error)) nfkc->normalize(icu::UnicodeString(c), error).toUTF8String(wide);
    if (U_SUCCESS(error)) {
      for (size_t at = 0; at < wide.size();) AppendUncurled(NextCodePoint(wide, at), out);
      return;
    }
  }
  AppendUncurled(c, out);
}

}  // namespace

std::string MendedText(absl::string_view text) {
  std::string mended(text), before;
  for (int pass = 0; pass < kMostPasses && mended != before; ++pass) {
    before = mended;
    // ftfy leaves entities in what looks like HTML; html.unescape() does not.
    const std::string plain = absl::StrContains(mended, '<') ? mended : WithoutEntities(mended);
    mended.clear();
    for (size_t at = 0; at < plain.size();) AppendMended(NextCodePoint(plain, at), mended);
  }
  return WithoutEntities(WithoutEntities(mended));
}

}  // namespace flowawr
