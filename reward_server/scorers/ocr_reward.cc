#include "reward_server/scorers/ocr_reward.h"

#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/quoted_text.h"
#include "common/base/utf8.h"

namespace flowawr {
namespace {

// Caps what a hostile target or a page full of noise can cost: the distance is quadratic.
constexpr size_t kMaxLength = 4096;

int Levenshtein(const std::u32string& a, const std::u32string& b) {
  std::vector<int> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 0; i < a.size(); ++i) {
    int diagonal = row[0];
    row[0] = static_cast<int>(i) + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const int substituted = diagonal + (a[i] != b[j]);
      diagonal = row[j + 1];
      row[j + 1] = std::min({diagonal + 1, row[j] + 1, substituted});
    }
  }
  return row.back();
}

}  // namespace

absl::StatusOr<std::string> OcrTarget(const std::string& prompt, const std::map<std::string, std::string>& metadata) {
  std::string target;
  if (const auto it = metadata.find("target"); it != metadata.end()) {
    target = it->second;
  } else if (const auto quoted = FirstQuoted(prompt); quoted.has_value()) {
    target = std::string(*quoted);
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat("the prompt has no double-quoted text and no metadata \"target\": ", TruncateUtf8(prompt, 200)));
  }
  if (NormaliseForOcr(target).empty())
    return absl::InvalidArgumentError(
        absl::StrCat("the text that the image should show is empty, in the prompt: ", TruncateUtf8(prompt, 200)));
  return target;
}

std::u32string NormaliseForOcr(absl::string_view text) {
  UErrorCode error = U_ZERO_ERROR;
  const icu::Normalizer2* const normaliser = icu::Normalizer2::getNFKCCasefoldInstance(error);
  const icu::UnicodeString unicode =
      icu::UnicodeString::fromUTF8(icu::StringPiece(text.data(), static_cast<int>(text.size())));
  // Its data are part of ICU's library: it fails only where memory does.
  const icu::UnicodeString folded = U_SUCCESS(error) ? normaliser->normalize(unicode, error) : unicode;
  std::u32string normalised;
  for (int i = 0; i < folded.length(); i = folded.moveIndex32(i, 1)) {
    const UChar32 c = folded.char32At(i);
    if (!u_isUWhiteSpace(c)) normalised.push_back(static_cast<char32_t>(c));
  }
  return normalised;
}

absl::StatusOr<OcrReward> ComputeOcrReward(absl::string_view target, absl::string_view text) {
  const std::u32string wanted = NormaliseForOcr(target);
  std::u32string read = NormaliseForOcr(text);
  if (wanted.empty()) return absl::InvalidArgumentError("the text that the image should show is empty");
  if (wanted.size() > kMaxLength)
    return absl::InvalidArgumentError(absl::StrCat("the text that the image should show has ", wanted.size(),
                                                   " characters; at most ", kMaxLength, " are accepted"));
  OcrReward result;
  result.is_exact = wanted == read;
  if (read.find(wanted) == std::u32string::npos) {
    // A text this long is at least its surplus length away; cutting it keeps the reward at 0.
    if (read.size() > 2 * wanted.size()) read.resize(2 * wanted.size());
    result.distance = Levenshtein(wanted, read);
  }
  const int length = static_cast<int>(wanted.size());
  result.reward = 1.0 - static_cast<double>(std::min(result.distance, length)) / length;
  return result;
}

}  // namespace flowawr
