#include "common/sd3/clip_unicode.h"

#include <unicode/bytestream.h>
#include <unicode/normalizer2.h>
#include <unicode/uniset.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>

#include "common/sd3/unicode.h"

namespace flowawr {
namespace {

constexpr uint8_t kClassesOf = 16;  // Unicode versions
constexpr char16_t kComposedOf[] = u"[:age=9.0:]";

struct Range {
  UChar32 first;
  UChar32 last;
};

// What Unicode 15.1 and 16 added; ordered.
constexpr Range kNewLetters[] = {
    {0x1c89, 0x1c8a},   {0xa7cb, 0xa7cd},   {0xa7da, 0xa7dc},   {0x105c0, 0x105f3}, {0x10d4a, 0x10d65},
    {0x10d6f, 0x10d85}, {0x10ec2, 0x10ec4}, {0x11380, 0x11389}, {0x1138b, 0x1138b}, {0x1138e, 0x1138e},
    {0x11390, 0x113b5}, {0x113b7, 0x113b7}, {0x113d1, 0x113d1}, {0x113d3, 0x113d3}, {0x11bc0, 0x11be0},
    {0x13460, 0x143fa}, {0x16100, 0x1611d}, {0x16d40, 0x16d6c}, {0x18cff, 0x18cff}, {0x1e5d0, 0x1e5ed},
    {0x1e5f0, 0x1e5f0}, {0x2ebf0, 0x2ee5d},
};
constexpr Range kNewNumbers[] = {
    {0x10d40, 0x10d49}, {0x116d0, 0x116e3}, {0x11bf0, 0x11bf9}, {0x16130, 0x16139},
    {0x16d70, 0x16d79}, {0x1ccf0, 0x1ccf9}, {0x1e5f1, 0x1e5fa},
};

// What Unicode 16 and 17 added; ordered. From `first` to `last` each becomes itself plus `offset`.
struct LowerCase {
  UChar32 first;
  UChar32 last;
  UChar32 offset;
};
constexpr LowerCase kNewLowerCase[] = {
    {0x1c89, 0x1c89, 1},      {0xa7cb, 0xa7cb, 0x264 - 0xa7cb},
    {0xa7cc, 0xa7cc, 1},      {0xa7ce, 0xa7ce, 1},
    {0xa7d2, 0xa7d2, 1},      {0xa7d4, 0xa7d4, 1},
    {0xa7da, 0xa7da, 1},      {0xa7dc, 0xa7dc, 0x19b - 0xa7dc},
    {0x10d50, 0x10d65, 0x20}, {0x16ea0, 0x16eb8, 0x1b},
};

template <typename Table>
const auto* Find(const Table& table, UChar32 c) {
  const auto* found = std::lower_bound(std::begin(table), std::end(table), c,
                                       [](const auto& range, UChar32 x) { return range.last < x; });
  return found != std::end(table) && found->first <= c ? found : nullptr;
}

// Whether `c` was assigned by Unicode `version`, as far as ICU knows.
bool IsAsOldAs(UChar32 c, uint8_t version) {
  UVersionInfo age;
  u_charAge(c, age);
  return age[0] != 0 && age[0] <= version;
}

bool IsOfClass(UChar32 c, uint32_t mask) { return (U_GET_GC_MASK(c) & mask) != 0 && IsAsOldAs(c, kClassesOf); }

}  // namespace

bool IsLetter(UChar32 c) { return IsOfClass(c, U_GC_L_MASK) || Find(kNewLetters, c) != nullptr; }
bool IsNumber(UChar32 c) { return IsOfClass(c, U_GC_N_MASK) || Find(kNewNumbers, c) != nullptr; }

std::string Composed(absl::string_view text) {
  static const icu::Normalizer2* const composer = [] {
    UErrorCode error = U_ZERO_ERROR;
    const icu::Normalizer2* nfc = icu::Normalizer2::getNFCInstance(error);
    auto* old_enough = new icu::UnicodeSet(kComposedOf, error);
    if (U_FAILURE(error)) std::abort();  // ICU without its own data
    old_enough->freeze();
    return new icu::FilteredNormalizer2(*nfc, *old_enough);
  }();
  UErrorCode error = U_ZERO_ERROR;
  std::string composed;
  icu::StringByteSink<std::string> sink(&composed);
  composer->normalizeUTF8(0, {text.data(), static_cast<int32_t>(text.size())}, sink, nullptr, error);
  return composed;
}

void AppendLowerCase(UChar32 c, std::string& text) {
  if (c == 0x130) {  // the one character whose lower case is two
    text += "i\u0307";
    return;
  }
  const LowerCase* added = Find(kNewLowerCase, c);
  AppendCodePoint(added == nullptr ? u_tolower(c) : c + added->offset, text);
}

}  // namespace flowawr
