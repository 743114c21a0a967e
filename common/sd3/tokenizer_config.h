// The fields of tokenizer_config.json that change ids.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/sd3/added_tokens.h"

namespace flowawr {

struct TokenizerConfig {
  std::string tokenizer_class;  // without the suffix "Fast"
  int model_max_length = 0;
  std::string bos_token, eos_token, unk_token, pad_token;  // empty: not given
  int extra_ids = 100;                                     // T5's sentinels
  std::vector<AddedToken> added_tokens;                    // the four above and all others, each content once

  // Adds `token` unless one with its content is there.
  void AddToken(AddedToken token);

  // Gives every added token its id: the vocabulary's, or else a new one from `next_id` on, in order.
  // `find` looks a token up in the vocabulary. InvalidArgument when the file's own id for a token contradicts that.
  // Returns the number of ids, i.e. the least id that is still free.
  absl::StatusOr<int64_t> ResolveIds(const std::function<std::optional<int64_t>(const std::string&)>& find,
                                     int64_t next_id, absl::string_view folder);

  // The resolved id of an added token.
  int64_t IdOf(absl::string_view content) const;
};

// `name` begins every error.
absl::StatusOr<TokenizerConfig> ParseTokenizerConfig(absl::string_view json, absl::string_view name);

// The list `added_tokens` of a tokenizer.json, null for none.
absl::StatusOr<std::vector<AddedToken>> ParseAddedTokens(const nlohmann::json& list, absl::string_view name);

}  // namespace flowawr
