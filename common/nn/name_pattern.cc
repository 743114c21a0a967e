#include "common/nn/name_pattern.h"

#include <re2/re2.h>

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/utf8.h"

namespace flowawr {
namespace {

constexpr size_t kMaxLength = 1024;

bool IsPlain(absl::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.'; });
}

}  // namespace

absl::StatusOr<NamePattern> NamePattern::Parse(absl::string_view pattern) {
  const auto unreadable = [&] {
    return absl::InvalidArgumentError(absl::StrCat("\"", TruncateUtf8(pattern, 80), "\" is no pattern that can be read"));
  };
  if (pattern.empty() || pattern.size() > kMaxLength) return unreadable();
  NamePattern parsed;
  absl::string_view text = pattern;
  parsed.is_anchored_ = absl::ConsumePrefix(&text, "^");
  if (IsPlain(text) && !text.empty()) {
    parsed.plain_ = std::string(text);
    return parsed;
  }
  RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(int64_t{1} << 20);
  parsed.whole_ = std::make_shared<const RE2>(std::string(pattern), options);
  parsed.end_ = std::make_shared<const RE2>(absl::StrCat("(?:.*\\.)?(?:", pattern, ")"), options);
  if (!parsed.whole_->ok() || !parsed.end_->ok()) return unreadable();
  return parsed;
}

bool NamePattern::PlainMatchesAt(const std::string& name, size_t begin) const {
  const auto is_same = [](char pattern, char c) { return pattern == '.' || pattern == c; };
  return name.size() - begin == plain_.size() &&
         std::equal(plain_.begin(), plain_.end(), name.begin() + static_cast<std::ptrdiff_t>(begin), is_same);
}

bool NamePattern::MatchesWhole(const std::string& name) const {
  if (whole_ != nullptr) return RE2::FullMatch(name, *whole_);
  return PlainMatchesAt(name, 0);
}

bool NamePattern::MatchesEnd(const std::string& name) const {
  if (end_ != nullptr) return RE2::FullMatch(name, *end_);
  if (PlainMatchesAt(name, 0)) return true;
  if (is_anchored_ || name.size() <= plain_.size()) return false;
  const size_t begin = name.size() - plain_.size();
  return name[begin - 1] == '.' && PlainMatchesAt(name, begin);
}

}  // namespace flowawr
