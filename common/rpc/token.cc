#include "common/rpc/token.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/status.h"

namespace flowawr {
namespace {

constexpr size_t kMinTokenChars = 16;
constexpr size_t kMaxTokenFileBytes = 4096;

}  // namespace

absl::StatusOr<std::string> ReadToken(const std::string& token_file) {
  absl::StatusOr<std::string> token = ReadFile(token_file, kMaxTokenFileBytes);
  if (!token.ok()) return Annotate(token.status(), "network.token_file");
  absl::StripAsciiWhitespace(&*token);
  if (token->size() < kMinTokenChars)
    return absl::InvalidArgumentError(absl::StrCat("network.token_file: the token in ", token_file, " has ",
                                                   token->size(), " characters, expected at least ", kMinTokenChars,
                                                   "; make one with: openssl rand -hex 32"));
  if (!std::all_of(token->begin(), token->end(), [](unsigned char c) { return absl::ascii_isgraph(c); }))
    return absl::InvalidArgumentError(
        absl::StrCat("network.token_file: the token in ", token_file, " must be one word of visible ASCII characters"));
  return token;
}

}  // namespace flowawr
