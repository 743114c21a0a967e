#include "common/rpc/token.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/file.h"
#include "common/base/status.h"

namespace flowawr {
namespace {

constexpr size_t kMinTokenChars = 16;
constexpr size_t kMaxTokens = 8;
constexpr size_t kMaxTokenFileBytes = 4096;

}  // namespace

absl::StatusOr<std::vector<std::string>> ReadTokens(const std::string& token_file, const std::string& field) {
  const absl::StatusOr<std::string> text = ReadFile(token_file, kMaxTokenFileBytes);
  if (!text.ok()) return Annotate(text.status(), field);
  std::vector<std::string> tokens;
  for (const absl::string_view line : absl::StrSplit(*text, '\n')) {
    const absl::string_view token = absl::StripAsciiWhitespace(line);
    if (!token.empty()) tokens.emplace_back(token);
  }
  if (tokens.empty()) tokens.emplace_back();
  if (tokens.size() > kMaxTokens)
    return absl::InvalidArgumentError(
        absl::StrCat(field, ": ", token_file, " holds ", tokens.size(), " tokens, expected at most ", kMaxTokens));
  for (const std::string& token : tokens) {
    if (token.size() < kMinTokenChars)
      return absl::InvalidArgumentError(absl::StrCat(field, ": the token in ", token_file, " has ", token.size(),
                                                     " characters, expected at least ", kMinTokenChars,
                                                     "; make one with: openssl rand -hex 32"));
    if (!std::all_of(token.begin(), token.end(), [](unsigned char c) { return absl::ascii_isgraph(c); }))
      return absl::InvalidArgumentError(
          absl::StrCat(field, ": the token in ", token_file, " must be one word of visible ASCII characters"));
  }
  return tokens;
}

absl::StatusOr<std::string> ReadToken(const std::string& token_file) {
  FLOWAWR_ASSIGN_OR_RETURN(const std::vector<std::string> tokens, ReadTokens(token_file));
  return tokens.front();
}

const std::string& TokenFileToSend(const v1::NetworkConfig& network) {
  for (const std::string* file : {&network.token_file(), &network.operator_token_file(), &network.actor_token_file(),
                                  &network.reward_token_file()})
    if (!file->empty()) return *file;
  return network.read_only_token_file();
}

}  // namespace flowawr
