#include "common/sd3/tokenizer_config.h"

#include <algorithm>
#include <climits>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/status.h"
#include "common/tensor/strict_json.h"

namespace flowawr {
namespace {

using nlohmann::json;

constexpr size_t kMostAddedTokens = 20000;

// A token is written as a string, or as an object with flags.
absl::StatusOr<AddedToken> ParseToken(const json& value, absl::string_view where) {
  AddedToken token;
  if (value.is_string()) {
    token.content = value.get<std::string>();
    return token;
  }
  if (!value.is_object() || !value.contains("content") || !value["content"].is_string())
    return absl::InvalidArgumentError(absl::StrCat(where, ": expected a string or an object with \"content\""));
  token.content = value["content"].get<std::string>();
  bool is_single_word = false;
  const std::pair<const char*, bool*> flags[] = {{"normalized", &token.is_normalized},
                                                 {"lstrip", &token.strips_left},
                                                 {"rstrip", &token.strips_right},
                                                 {"single_word", &is_single_word}};
  for (const auto& [key, flag] : flags) {
    if (!value.contains(key)) continue;
    if (!value[key].is_boolean())
      return absl::InvalidArgumentError(absl::StrCat(where, ": ", key, " must be true or false"));
    *flag = value[key].get<bool>();
  }
  if (is_single_word) return absl::UnimplementedError(absl::StrCat(where, ": single_word tokens are not supported"));
  return token;
}

absl::Status ParseDecoder(const json& decoder, absl::string_view name, TokenizerConfig& config) {
  std::vector<AddedToken> parsed;
  if (!decoder.is_object())
    return absl::InvalidArgumentError(absl::StrCat(name, ": added_tokens_decoder must be an object"));
  for (const auto& [key, value] : decoder.items()) {
    const std::string where = absl::StrCat(name, ": added_tokens_decoder \"", key, "\"");
    FLOWAWR_ASSIGN_OR_RETURN(AddedToken token, ParseToken(value, where));
    if (!absl::SimpleAtoi(key, &token.id) || token.id < 0 || token.id > INT_MAX)
      return absl::InvalidArgumentError(absl::StrCat(where, ": the key must be a token id"));
    parsed.push_back(std::move(token));
  }
  std::sort(parsed.begin(), parsed.end(), [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  for (AddedToken& token : parsed) config.AddToken(std::move(token));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TokenizerConfig> ParseTokenizerConfig(absl::string_view text, absl::string_view name) {
  FLOWAWR_ASSIGN_OR_RETURN(const json document, ParseStrictJson(text, name));
  auto invalid = [&](absl::string_view what) { return absl::InvalidArgumentError(absl::StrCat(name, ": ", what)); };
  if (!document.is_object()) return invalid("expected an object");
  TokenizerConfig config;
  if (!document.contains("tokenizer_class") || !document["tokenizer_class"].is_string())
    return invalid("tokenizer_class is missing");
  config.tokenizer_class = std::string(absl::StripSuffix(document["tokenizer_class"].get<std::string>(), "Fast"));
  if (!document.contains("model_max_length") || !document["model_max_length"].is_number())
    return invalid("model_max_length is missing or not a number");
  const double length = document["model_max_length"].get<double>();
  if (!(length >= 1)) return invalid("model_max_length must be positive");
  config.model_max_length = length < INT_MAX ? static_cast<int>(length) : INT_MAX;  // "no limit" is written 1e30
  if (document.contains("extra_ids")) {
    const json& extra_ids = document["extra_ids"];
    if (!extra_ids.is_number_unsigned() || extra_ids.get<uint64_t>() > 10000)
      return invalid("extra_ids must be a whole number up to 10000");
    config.extra_ids = extra_ids.get<int>();
  }
  if (document.contains("added_tokens_decoder"))
    FLOWAWR_RETURN_IF_ERROR(ParseDecoder(document["added_tokens_decoder"], name, config));
  const std::pair<const char*, std::string*> named[] = {{"bos_token", &config.bos_token},
                                                        {"eos_token", &config.eos_token},
                                                        {"unk_token", &config.unk_token},
                                                        {"pad_token", &config.pad_token}};
  for (const auto& [key, content] : named) {
    if (!document.contains(key) || document[key].is_null()) continue;
    FLOWAWR_ASSIGN_OR_RETURN(AddedToken token, ParseToken(document[key], absl::StrCat(name, ": ", key)));
    *content = token.content;
    config.AddToken(std::move(token));
  }
  for (const char* key : {"additional_special_tokens", "extra_special_tokens"}) {
    if (!document.contains(key) || !document[key].is_array()) continue;
    for (const json& value : document[key]) {
      FLOWAWR_ASSIGN_OR_RETURN(AddedToken token, ParseToken(value, absl::StrCat(name, ": ", key)));
      config.AddToken(std::move(token));
    }
  }
  if (config.added_tokens.size() > kMostAddedTokens)
    return invalid(absl::StrCat("more than ", kMostAddedTokens, " added tokens"));
  return config;
}

absl::StatusOr<std::vector<AddedToken>> ParseAddedTokens(const json& list, absl::string_view name) {
  std::vector<AddedToken> tokens;
  if (list.is_null()) return tokens;
  if (!list.is_array() || list.size() > kMostAddedTokens)
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": added_tokens must be a list of at most ", kMostAddedTokens, " tokens"));
  for (const json& value : list) {
    FLOWAWR_ASSIGN_OR_RETURN(AddedToken token, ParseToken(value, absl::StrCat(name, ": added_tokens")));
    const json id = value.is_object() ? value.value("id", json()) : json();
    if (!id.is_number_unsigned() || id.get<uint64_t>() > INT_MAX)
      return absl::InvalidArgumentError(absl::StrCat(name, ": the added token \"", token.content, "\" has no id"));
    token.id = id.get<int64_t>();
    tokens.push_back(std::move(token));
  }
  return tokens;
}

void TokenizerConfig::AddToken(AddedToken token) {
  auto is_same = [&](const AddedToken& other) { return other.content == token.content; };
  if (token.content.empty() || std::any_of(added_tokens.begin(), added_tokens.end(), is_same)) return;
  added_tokens.push_back(std::move(token));
}

absl::StatusOr<int64_t> TokenizerConfig::ResolveIds(
    const std::function<std::optional<int64_t>(const std::string&)>& find, int64_t next_id, absl::string_view folder) {
  for (AddedToken& token : added_tokens) {
    const std::optional<int64_t> known = find(token.content);
    const int64_t id = known ? *known : next_id++;
    if (token.id != -1 && token.id != id)
      return absl::InvalidArgumentError(absl::StrCat(folder, ": tokenizer_config.json gives the token \"",
                                                     token.content, "\" the id ", token.id,
                                                     ", but by the vocabulary it is ", id));
    token.id = id;
  }
  return next_id;
}

int64_t TokenizerConfig::IdOf(absl::string_view content) const {
  for (const AddedToken& token : added_tokens)
    if (token.content == content) return token.id;
  return -1;
}

}  // namespace flowawr
