#include "common/sd3/tokenizer.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "common/base/utf8.h"
#include "common/sd3/clip_tokenizer.h"
#include "common/sd3/t5_tokenizer.h"
#include "common/sd3/tokenizer_json.h"
#include "common/sd3/unicode.h"

namespace flowawr {

absl::StatusOr<std::unique_ptr<const Tokenizer>> Tokenizer::Load(const std::string& folder) {
  const std::string path = absl::StrCat(folder, "/tokenizer_config.json");
  FLOWAWR_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, size_t{16} << 20));
  FLOWAWR_ASSIGN_OR_RETURN(TokenizerConfig config, ParseTokenizerConfig(text, path));
  constexpr size_t kMostBytes = size_t{64} << 20;
  std::error_code ignored;
  const std::string json_path = absl::StrCat(folder, "/tokenizer.json");
  const auto has = [&](const char* file) { return std::filesystem::exists(absl::StrCat(folder, "/", file), ignored); };
  if (config.tokenizer_class == "CLIPTokenizer") {
    if (!has("vocab.json") && !has("merges.txt") && has("tokenizer.json")) {
      FLOWAWR_ASSIGN_OR_RETURN(const std::string json, ReadFile(json_path, kMostBytes));
      FLOWAWR_ASSIGN_OR_RETURN(BpeFiles files, BpeFromTokenizerJson(json, json_path));
      for (AddedToken& token : files.added_tokens) config.AddToken(std::move(token));
      return ClipTokenizer::Parse(std::move(config), files.vocab, files.merges, folder);
    }
    FLOWAWR_ASSIGN_OR_RETURN(const std::string vocab, ReadFile(absl::StrCat(folder, "/vocab.json"), kMostBytes));
    FLOWAWR_ASSIGN_OR_RETURN(const std::string merges, ReadFile(absl::StrCat(folder, "/merges.txt"), kMostBytes));
    return ClipTokenizer::Parse(std::move(config), vocab, merges, folder);
  }
  if (config.tokenizer_class == "T5Tokenizer") {
    if (!has("spiece.model") && has("tokenizer.json")) {
      FLOWAWR_ASSIGN_OR_RETURN(const std::string json, ReadFile(json_path, kMostBytes));
      FLOWAWR_ASSIGN_OR_RETURN(UnigramFile file, UnigramFromTokenizerJson(json, json_path));
      for (AddedToken& token : file.added_tokens) config.AddToken(std::move(token));
      return T5Tokenizer::Make(std::move(config), std::move(file.model), folder, json_path);
    }
    FLOWAWR_ASSIGN_OR_RETURN(const std::string model, ReadFile(absl::StrCat(folder, "/spiece.model"), kMostBytes));
    return T5Tokenizer::Parse(std::move(config), model, folder);
  }
  return absl::InvalidArgumentError(absl::StrCat(path, ": tokenizer_class \"", config.tokenizer_class,
                                                 "\" is not known; CLIPTokenizer and T5Tokenizer are"));
}

std::vector<int64_t> Tokenizer::EncodeBody(absl::string_view text) const {
  std::vector<int64_t> body;
  for (const TextPiece& raw : SplitAtTokens(text, config_.added_tokens, false)) {
    if (raw.token_id) {
      body.push_back(*raw.token_id);
      continue;
    }
    const std::string normalized = Normalize(raw.text);
    for (const TextPiece& piece : SplitAtTokens(normalized, config_.added_tokens, true)) {
      if (piece.token_id) {
        body.push_back(*piece.token_id);
      } else {
        EncodeNormalized(piece.text, body);
      }
    }
  }
  return body;
}

absl::StatusOr<std::vector<int64_t>> Tokenizer::Encode(absl::string_view text, int max_length) const {
  const size_t frame = frame_.before.size() + frame_.after.size();
  if (max_length < static_cast<int>(frame))
    return absl::InvalidArgumentError(absl::StrCat("a sequence of ", max_length, " tokens has no room for the ", frame,
                                                   " that every text begins and ends with"));
  if (!IsValidUtf8(text)) return absl::InvalidArgumentError("the text is not valid UTF-8");
  std::vector<int64_t> body = EncodeBody(text);
  body.resize(std::min(body.size(), max_length - frame));
  std::vector<int64_t> ids = frame_.before;
  ids.insert(ids.end(), body.begin(), body.end());
  ids.insert(ids.end(), frame_.after.begin(), frame_.after.end());
  ids.resize(max_length, frame_.pad);
  return ids;
}

std::string Tokenizer::CutOff(absl::string_view text, int max_length) const {
  const int64_t room = max_length - static_cast<int64_t>(frame_.before.size() + frame_.after.size());
  const auto fits = [&](size_t end) { return static_cast<int64_t>(EncodeBody(text.substr(0, end)).size()) <= room; };
  if (room < 0 || !IsValidUtf8(text) || fits(text.size())) return "";
  std::vector<size_t> ends;  // of characters
  for (size_t at = 0; at < text.size();) {
    ends.push_back(at);
    NextCodePoint(text, at);
  }
  const auto first_cut = std::partition_point(ends.begin(), ends.end(), fits);
  const size_t begin = first_cut == ends.begin() ? 0 : *(first_cut - 1);
  return std::string(absl::StripLeadingAsciiWhitespace(text.substr(begin)));
}

}  // namespace flowawr
